"""What a sample is: named fields, each of a kind, and classes. A kind of sample is a folder or file here.

`kind` says what every kind can do; `image` is one. `schema` is what all sites agree on, `samples` holds values at
rest, `dataset` adds labels. Whoever learns, fuses or sends reads these, and knows no kind by name.
"""
