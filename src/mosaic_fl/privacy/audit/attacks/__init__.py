"""All attacks: a function each, in a file of its own. To add one, write its file and its line here."""

from mosaic_fl.privacy.audit.attacks.density import density
from mosaic_fl.privacy.audit.attacks.domias import domias
from mosaic_fl.privacy.audit.attacks.gan_leaks import gan_leaks
from mosaic_fl.privacy.audit.attacks.lira import lira
from mosaic_fl.privacy.audit.attacks.lira_generator import lira_generator
from mosaic_fl.privacy.audit.attacks.loss import loss
from mosaic_fl.privacy.audit.attacks.nearest import nearest, nearest_ratio, second_nearest
from mosaic_fl.privacy.audit.attacks.prototype import prototype
from mosaic_fl.privacy.audit.attacks.reconstruction import reconstruction, reconstruction_gain
from mosaic_fl.privacy.audit.attacks.tracing import tracing
from mosaic_fl.privacy.audit.case import Attack

GENERATOR = "generator"
EXPERT = "expert"
MOMENTS = "moments"
PROTOTYPES = "prototypes"

ATTACKS = (
    Attack("nearest", GENERATOR, nearest),
    Attack("nearest_ratio", GENERATOR, nearest_ratio),
    Attack("second_nearest", GENERATOR, second_nearest),
    Attack("gan_leaks", GENERATOR, gan_leaks),
    Attack("domias", GENERATOR, domias),
    Attack("reconstruction", GENERATOR, reconstruction),
    Attack("reconstruction_gain", GENERATOR, reconstruction_gain),
    Attack("lira_generator", GENERATOR, lira_generator),
    Attack("density", MOMENTS, density),
    Attack("tracing", MOMENTS, tracing),
    Attack("loss", EXPERT, loss),
    Attack("lira", EXPERT, lira),
    Attack("prototype", PROTOTYPES, prototype),
)
