"""What a contribution holds: of each field who reads it, and what it tells of the site's samples.

What no reader of a run needs stays at the site. `tests/test_contents.py` shows it: the global model of the default
settings is the same, byte for byte, without the fields that serve no model.
"""

from dataclasses import dataclass
from enum import StrEnum

from mosaic_fl.exchange.contribution import Contribution


class Purpose(StrEnum):
    """What a field serves at the server."""

    MODEL = "the global model"
    SETTING = "the global model, where a setting asks for it"
    CHECK = "checks"
    REPORT = "the report"


@dataclass(frozen=True)
class Content:
    """One field of a contribution: its `name`, `what` it is, who `reads` it for which `purpose`, what it `tells`."""

    name: str
    what: str
    purpose: Purpose
    reads: str
    tells: str


CONTENTS = (
    Content("client", "the site's number", Purpose.MODEL, "all stages, which name clients by it", "nothing of samples"),
    Content(
        "schema",
        "fields, classes, columns",
        Purpose.MODEL,
        "all stages: every network is built for it",
        "the names of classes; of tables columns, categories and quantiles, which all sites agreed on beforehand",
    ),
    Content("architecture", "the name of the model", Purpose.MODEL, "the experts, which are built by it", "nothing"),
    Content(
        "expert",
        "the site's model",
        Purpose.MODEL,
        "the teachers and the meta model",
        "by its answers, whether a sample was in training: the fewer samples, the more surely",
    ),
    Content(
        "class_counts",
        "training samples of each class",
        Purpose.MODEL,
        "the weights of experts, and each generator's share of the drawn samples",
        "exactly how many training samples the site has of each class",
    ),
    Content(
        "prototypes",
        "centres of clusters of features",
        Purpose.SETTING,
        "the meta model with meta.source = prototypes, and nothing else",
        "means of prototypes.min_cluster samples and more, as the model sees them",
    ),
    Content(
        "validation",
        "figures of the site's model on samples held back",
        Purpose.REPORT,
        "the report of a run, who gains by taking part; files leave them at the site",
        "how well the model does on a few samples: of one alone, its loss",
    ),
    Content(
        "generator_spec",
        "the form of the generator",
        Purpose.MODEL,
        "the generators, which are built by it",
        "nothing of samples",
    ),
    Content(
        "generator",
        "what draws synthetic samples",
        Purpose.MODEL,
        "the pool of samples on which teacher and student learn, and the meta model",
        "samples like the site's own; after many passes over few samples nearly these themselves",
    ),
    Content(
        "generator_note",
        "the reason for the generator's family",
        Purpose.REPORT,
        "the report, and the error where nobody has a generator",
        "no more than the class counts",
    ),
    Content(
        "field_counts",
        "training samples of each class with each field",
        Purpose.MODEL,
        "which experts read which samples, and the joining of fields",
        "exactly how many samples of a class have a field",
    ),
    Content("privacy", "ε and δ of all of it", Purpose.CHECK, "the check of the noise, and the report", "nothing"),
    Content(
        "moments",
        "class moments in the space of a public encoder, where moments.encoder names one",
        Purpose.SETTING,
        "the teachers moments, product, moments_gate and moments_meta",
        "counts, means and one scatter of vectors, ten of a class and more, with generator.components of groups of ten "
        "within a class: of few, whether a sample was among them",
    ),
    Content(
        "audit",
        "what the site's own audit found",
        Purpose.REPORT,
        "the report, where the site's gate is on, or it took a risk; else it stays",
        "one figure of how well members are told, of samples that were held back",
    ),
)
"""Every field of a contribution, in the order of its class."""

GENERATORS = {
    "cvae": "a decoder, and up to 16 Gaussians a class of where the encoder puts samples; the encoder stays",
    "dcgan": "a network that draws, which never sees samples but by its critic; the critic stays",
    "cdcgan": "a network that draws, which never sees samples but by its critic; the critic stays",
    "flow": "a network that moves noise to samples, learnt from all samples",
    "cart": "trees whose leaves tell of ten rows and more",
    "marginals": "tables of a Bayesian network whose cells tell of ten rows and more",
    "tabular": "a decoder of rows, and the Gaussians of where the encoder puts rows; the encoder stays",
    "moments": "counts, means and one scatter of vectors, with generator.components of several groups a class; a class "
    "of fewer than ten stays, and a group has ten. They may tell who is in them",
    "exact_moments": "counts, means and one scatter of vectors: the mean of a class of one vector is that vector",
    "mixtures": "Gaussians of vectors, several a class: one of a single vector is that vector",
    "product": "a generator for each field",
    "merged": "the generators of several sites",
}
"""By family, what a generator's state is, and what stays at the site. A family of another package is not here."""


def present(contribution: Contribution) -> list[Content]:
    """The fields that this contribution has; an empty one is not among them."""
    return [content for content in CONTENTS if _has(contribution, content.name)]


def _has(contribution: Contribution, name: str) -> bool:
    match name:
        case "expert":
            return bool(contribution.expert)
        case "prototypes":
            return len(contribution.prototypes.labels) > 0
        case "validation":
            return len(contribution.validation) > 1
        case "generator_note":
            return bool(contribution.generator_note)
        case _:
            return getattr(contribution, name) is not None
