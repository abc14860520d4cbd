"""Experts: clients' models as the server and the methods see them, and the kinds of experts."""
