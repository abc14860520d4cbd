"""Data whose samples are rows of a table: reading them, drafting their schema, and holding data against one."""
