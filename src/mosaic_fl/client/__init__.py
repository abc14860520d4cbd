"""The work of a client. Only code in this folder sees private data."""
