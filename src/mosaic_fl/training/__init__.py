"""Training of networks, at sites and at the server: a loop, kinds of steps, and hooks.

Read `loop` first. A step (`steps`) moves the weights by the gradient of a loss; hooks (`hooks`) run after each step.
"""
