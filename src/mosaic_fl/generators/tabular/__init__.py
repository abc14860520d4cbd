"""`tabular`: a class-conditional VAE with a likelihood for each type of column (as TVAE, Xu et al. 2019).

Numbers are mixtures of Gaussians over quantile positions, categories a softmax, truth values and missing
ones Bernoulli. What is drawn is sampled from them, never their most probable value.
"""

from mosaic_fl.generators.tabular.network import Decoder
from mosaic_fl.generators.tabular.training import FAMILY

__all__ = ["FAMILY", "Decoder"]
