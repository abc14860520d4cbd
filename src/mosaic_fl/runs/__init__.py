"""A run from data to result: simulated, or from files; its checks and its figures."""
