"""Attacks on a contribution: `audit` runs them all, `attacks` holds a file for each, `case` is what they are given."""
