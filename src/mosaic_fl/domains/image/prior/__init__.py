"""Prior images: pictures without task data, on which a teacher can be distilled (docs/method.md, lesson 6).

The inputs of distillation must excite the experts; they need not look like task data. Crops of one large photograph
teach a student (Asano and Saeed, "The Augmented Image Prior", ICLR 2023), and so do dead leaves and noise of the right
spectrum (Baradad et al., "Learning to See by Looking at Noise", NeurIPS 2021).
"""

from mosaic_fl.domains.image.prior.cutmix import cutmix
from mosaic_fl.domains.image.prior.hybrid import hybrids
from mosaic_fl.domains.image.prior.kinds import KINDS, check_prior, prior_images

__all__ = ["KINDS", "check_prior", "cutmix", "hybrids", "prior_images"]
