"""The server's own generator: what DENSE, Co-Boosting, FedFTG and DFRD share.

They train a conditional generator against the clients' frozen models and distil those on what it shows. Nothing here
knows which of them is running: each method is the loop of its paper over these parts.
"""
