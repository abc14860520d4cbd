"""`cart`: sequential trees (Reiter 2005; the method "cart" of synthpop, Nowok, Raab & Dibben 2016), given the class.

Column j is drawn from the leaf of a tree that reads the class and the columns before it. A leaf holds at least ten rows
and is known by a few numbers: shares of categories, quantiles, the share of missing values. It is fit in a second.
Values that fewer than ten rows of a client have, and the ten at each end, are coded away before.
"""

from mosaic_fl.domains.table.kind import MAX_COLUMNS
from mosaic_fl.generators.cart.fit import train
from mosaic_fl.generators.cart.generator import Cart, spec, upgrade
from mosaic_fl.generators.family import Family

FAMILY = Family(
    conditional=True,
    kinds=frozenset({"table"}),
    build=Cart,
    train=train,
    max_latent=MAX_COLUMNS,
    spec=spec,
    has_steps=False,
    upgrade=upgrade,
)

__all__ = ["FAMILY", "Cart"]
