"""Black boxes: experts whose model stays at its site, and answers queries."""
