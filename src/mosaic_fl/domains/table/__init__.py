"""Tables: rows of numbers, truth values and categories, any of which may be missing. `kind` is the interface."""

from mosaic_fl.domains.table.column import Column
from mosaic_fl.domains.table.kind import Table

__all__ = ["Column", "Table"]
