"""`cart`: sequential trees (Reiter 2005; the method "cart" of synthpop, Nowok, Raab & Dibben 2016), given the class.

Column j is drawn from the leaf of a tree that reads the class and the columns before it. A leaf holds at least ten rows
and is known by a few numbers: shares of categories, quantiles, the share of missing values. It is fit in a second.
Values that fewer than ten rows of a client have, and the ten at each end, are coded away before.
"""

from mosaic_fl.generators.cart.generator import FAMILY, Cart

__all__ = ["FAMILY", "Cart"]
