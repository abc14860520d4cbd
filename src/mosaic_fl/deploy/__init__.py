"""A federation over a network with Flower: keys, certificates, the app bundle, its gate, and all processes."""
