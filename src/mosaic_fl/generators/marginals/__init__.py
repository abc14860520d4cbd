"""`marginals`: a Bayesian network over binned columns, given the class (PrivBayes, Zhang et al. 2017, without noise).

Each column has the class and at most two other columns for parents. Everything that is told of rows comes from tables
of counts, in whose cells at least ten rows stand, and from quantiles within bins of at least ten rows.
"""

from mosaic_fl.generators.marginals.generator import Marginals
from mosaic_fl.generators.marginals.training import FAMILY

__all__ = ["FAMILY", "Marginals"]
