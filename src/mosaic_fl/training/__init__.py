"""How networks are trained: one loop, one kind of step a file, and hooks; by site and server alike.

Read `loop` first. A step says how a loss moves the weights (`steps`), a hook what happens after each one (`hooks`).
"""
