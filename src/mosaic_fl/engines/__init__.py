"""Engines: how a method reaches the clients, on this machine (`local`) or over Flower (`flower`).

An engine is a `Federation` (`exchange.federation`). `shared` keeps the clients' answers for several methods.
"""
