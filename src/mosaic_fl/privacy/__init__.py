"""What a contribution tells of the samples behind it."""
