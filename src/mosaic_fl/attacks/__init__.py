"""Attacks by clients, as small functions: what a federation has to stand, in simulations alone."""
