"""Experts: what clients' models are to everyone else, and the kinds of them."""
