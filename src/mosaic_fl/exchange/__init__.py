"""What travels between sites and server: contributions and the global model. `federation` is what methods call."""
