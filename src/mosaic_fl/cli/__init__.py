"""The `mosaic` command: one file for each subcommand. The work itself is in the library.

Start with `main`, which lists the subcommands."""
