"""The `flower` engine: the same methods over Flower's processes, simulated on one machine or on a network.

At the server `roll` (the members), `dispatch` and `exchange` (one stage), and `federation` (the engine); at a client
`app`, `client` and `memory`; between them `wire` and `codec`.
"""
