"""The output of runs for people: tables, pictures, the progress display and the lines of a status."""
