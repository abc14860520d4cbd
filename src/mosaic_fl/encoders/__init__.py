"""Public encoders: frozen maps from a sample's one field to a vector, the same at all sites.

`encoder` is what an encoder is, and `family` what makes one by its name. `naming` finds it, `encoding` encodes data
sets, `reading` reads data and encodes them at once. Each family has a file.
"""
