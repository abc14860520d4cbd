"""What a run shows: tables, pictures and the progress display."""
