"""Devices, random streams, and weights as values: what everything else computes with."""
