"""Runs from data to result: simulations, and distillations of contribution files. Also predictions of a model."""
