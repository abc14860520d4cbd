"""What the models that a site scores are called. It takes no torch, so a report reads fast."""

GLOBAL = "global"
OWN = "own"
