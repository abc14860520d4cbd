"""Methods side by side: a grid of settings, each cell run alike, and the tables and statistics of what came out."""
