"""Files: the one format, stages that are kept, and a run's folder with its lock."""
