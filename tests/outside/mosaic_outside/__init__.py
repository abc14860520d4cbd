"""A package of somebody else that adds to mosaic-fl from outside: a generator, a kind of sample, a split, a method."""
