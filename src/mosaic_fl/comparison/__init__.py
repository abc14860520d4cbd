"""Comparison of methods: a grid of settings, runs of all its cells under equal conditions, tables and statistics."""
