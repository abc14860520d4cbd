"""`mosaic status --web`: a run as a page on this machine alone, read again every two seconds."""
