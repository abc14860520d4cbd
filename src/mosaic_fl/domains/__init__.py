"""Samples: named fields, each of a kind, and classes. Each kind of sample has a folder or file here; `image` is one.

`kind` is the interface of a kind. `schema` has the fields and classes, the same at all sites. `samples` holds values at
rest, and `dataset` adds labels. The rest of the package uses these and names no kind.
"""
