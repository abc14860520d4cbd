"""The `flower` engine: the same methods over Flower's processes, simulated on one machine or on a network."""
