"""Data whose samples have several fields, pictures and table columns: reading, drafting a schema, and export."""
