"""What travels between sites and server: contributions, the global model, and what a method may ask of clients."""
