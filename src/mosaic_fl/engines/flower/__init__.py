"""Flower as an engine: the same clients' work, sent to sites over a network."""
