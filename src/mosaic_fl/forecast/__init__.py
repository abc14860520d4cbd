"""Forecasts of a command before it runs: steps, time, memory, traffic and disk, from a few measured steps."""
