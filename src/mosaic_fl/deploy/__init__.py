"""What prepares, guards and runs a federation's processes over Flower: keys, certificates, the bundle and its gate."""
