"""What a sample is, where data sets come from, and how one is spread over clients."""
