"""Files: the file format (`container`), a run's stages (`journal`), the folder lock, and readers with limits."""
