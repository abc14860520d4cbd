"""The `mosaic` command: thin, it calls the library."""
