"""What runs at the server: it sees contributions, and no data set."""
