"""What runs at a client: the only code that sees private data."""
