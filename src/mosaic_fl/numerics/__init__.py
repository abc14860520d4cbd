"""Numerical basics: devices, random streams, and model states as values."""
