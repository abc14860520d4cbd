"""The registries of the package: the names that settings take, and what they mean. One line adds a built-in part.

They hold import paths only, so that a name can be checked without an import.
"""

from typing import TYPE_CHECKING

from mosaic_fl.registry import Registry

if TYPE_CHECKING:
    from mosaic_fl.attacks.attack import Attack
    from mosaic_fl.data.partition import Partition
    from mosaic_fl.domains.kind import Kind
    from mosaic_fl.domains.schema import Schema
    from mosaic_fl.encoders.family import EncoderFamily
    from mosaic_fl.experts.kind import ExpertKind
    from mosaic_fl.generators.family import Family
    from mosaic_fl.methods.card import Card
    from mosaic_fl.server.teachers import Teacher

KINDS: "Registry[type[Kind]]" = Registry(
    "kind of sample",
    "mosaic_fl.kinds",
    {
        "image": "mosaic_fl.domains.image:Image",
        "table": "mosaic_fl.domains.table:Table",
        "vector": "mosaic_fl.domains.vector:Vector",
    },
    'call mosaic_fl.registries.KINDS["{name}"] first',
)
"""Kinds of samples, by the name that a schema gives."""

GENERATORS: "Registry[Family]" = Registry(
    "generator",
    "mosaic_fl.generators",
    {
        "cvae": "mosaic_fl.generators.cvae:FAMILY",
        "dcgan": "mosaic_fl.generators.dcgan:UNCONDITIONAL",
        "cdcgan": "mosaic_fl.generators.dcgan:CONDITIONAL",
        "flow": "mosaic_fl.generators.flow:FAMILY",
        "cart": "mosaic_fl.generators.cart:FAMILY",
        "marginals": "mosaic_fl.generators.marginals:FAMILY",
        "tabular": "mosaic_fl.generators.tabular:FAMILY",
        "moments": "mosaic_fl.generators.moments:FAMILY",
        "exact_moments": "mosaic_fl.generators.moments:EXACT",
        "mixtures": "mosaic_fl.generators.mixtures:FAMILY",
        "merged": "mosaic_fl.generators.merged:FAMILY",
        "product": "mosaic_fl.generators.product:FAMILY",
    },
    'say --set generator.family={name}, or generator = "{name}" in the site\'s file',
)
"""Families of generators, by the name that `generator.family` takes."""

ENCODERS: "Registry[EncoderFamily]" = Registry(
    "encoder",
    "mosaic_fl.encoders",
    {
        "gabor": "mosaic_fl.encoders.gabor:GABOR",
        "efficientnet-lite0": "mosaic_fl.encoders.efficientnet:EFFICIENTNET",
        "strokes": "mosaic_fl.encoders.strokes:STROKES",
        "encoding": "mosaic_fl.encoders.columns:COLUMNS",
        "onnx": "mosaic_fl.encoders.onnx_file:ONNX_FILE",
        "timm": "mosaic_fl.encoders.timm:TIMM",
        "module": "mosaic_fl.encoders.own:OWN",
    },
    "name it with --encoder {name}",
)
"""Families of public encoders, by the first word of a name that `data.encoder` takes."""

EXPERTS: "Registry[ExpertKind]" = Registry(
    "kind of expert",
    "mosaic_fl.experts",
    {
        "network": "mosaic_fl.experts.network:NETWORK",
        "answers": "mosaic_fl.experts.answers.kind:ANSWERS_KIND",
        "none": "mosaic_fl.experts.no_model:NONE",
        "onnx": "mosaic_fl.experts.onnx.expert:ONNX",
        "random_forest": "mosaic_fl.experts.estimator:ESTIMATOR",
        "xgboost": "mosaic_fl.experts.estimator:ESTIMATOR",
        "lightgbm": "mosaic_fl.experts.estimator:ESTIMATOR",
        "logistic": "mosaic_fl.experts.estimator:ESTIMATOR",
        "estimator": "mosaic_fl.experts.estimator:ESTIMATOR",
        "discriminant": "mosaic_fl.experts.closed_form:DISCRIMINANT",
        "quadratic": "mosaic_fl.experts.closed_form:QUADRATIC_KIND",
        "mixture": "mosaic_fl.experts.closed_form:MIXTURE_KIND",
        "ridge": "mosaic_fl.experts.closed_form:RIDGE",
        "boosted_trees": "mosaic_fl.experts.boosted:BOOSTED",
    },
    way="name it with --trust {name}",
)
"""Kinds of clients' models, by the first word of a model's name. A name with any other first word is a network's."""

MEASURED = "measured"
NO_FAMILY = ("auto", MEASURED, "none")
"""The other values of `generator.family`: a built-in family by the kind of the data, one by measurement, or none."""


def name_generator(family: str) -> None:
    """Import the generator that this machine's user set as `generator.family`. From then on received bytes may name it.

    Raises UsageError where its package cannot be imported.
    """
    if family not in NO_FAMILY:
        _ = GENERATORS[family]


def name_kinds(schema: "Schema") -> None:
    """Register the kinds of samples that this machine's user has in memory, so that received bytes may name them."""
    for kind in schema.fields.values():
        if kind.name in KINDS:
            _ = KINDS[kind.name]
        else:
            KINDS[kind.name] = type(kind)


PARTITIONS: "Registry[Partition]" = Registry(
    "split",
    "mosaic_fl.partitions",
    {
        "niid_bench": "mosaic_fl.data.partition:NIID_BENCH",
        "dirichlet_per_class": "mosaic_fl.data.partition:DIRICHLET_PER_CLASS",
        "equal_size_prior": "mosaic_fl.data.partition:EQUAL_SIZE_PRIOR",
        "iid": "mosaic_fl.data.partition:IID",
        "pathological": "mosaic_fl.data.partition:PATHOLOGICAL",
        "quantity_skew": "mosaic_fl.data.partition:QUANTITY_SKEW",
        "feature_skew": "mosaic_fl.data.partition:FEATURE_SKEW",
        "by_column": "mosaic_fl.data.partition:BY_COLUMN",
    },
)
"""Ways of spreading data over clients, by the name that `partition.split` takes."""

TEACHERS: "Registry[Teacher]" = Registry(
    "teacher",
    "mosaic_fl.teachers",
    {
        "meta": "mosaic_fl.server.teachers:meta",
        "class_balanced": "mosaic_fl.server.teachers:balanced",
        "class_evened": "mosaic_fl.server.teachers:evened",
        "class_weighted": "mosaic_fl.server.teachers:weighted",
        "gate": "mosaic_fl.server.teachers:gate",
        "moments": "mosaic_fl.server.teachers:moments",
        "product": "mosaic_fl.server.teachers:product",
        "moments_gate": "mosaic_fl.server.teachers:moments_gate",
        "moments_meta": "mosaic_fl.server.teachers:moments_meta",
        "mean_probabilities": "mosaic_fl.server.teachers:probabilities",
        "mean_logits": "mosaic_fl.server.teachers:logits",
    },
)
"""Ways to turn the experts' outputs into one prediction, by the name that `distill.teacher` takes."""

METHODS: "Registry[Card]" = Registry(
    "method",
    "mosaic_fl.methods",
    {
        "mosaic": "mosaic_fl.methods.cards:MOSAIC",
        "fedavg": "mosaic_fl.methods.cards:FEDAVG",
        "fedprox": "mosaic_fl.methods.cards:FEDPROX",
        "fedbn": "mosaic_fl.methods.cards:FEDBN",
        "fedrs": "mosaic_fl.methods.cards:FEDRS",
        "federated_xgboost": "mosaic_fl.methods.cards:FEDERATED_XGBOOST",
        "federated_bagging": "mosaic_fl.methods.cards:FEDERATED_BAGGING",
        "heterofl": "mosaic_fl.methods.cards:HETEROFL",
        "fedrolex": "mosaic_fl.methods.cards:FEDROLEX",
        "fedgen": "mosaic_fl.methods.cards:FEDGEN",
        "feddf": "mosaic_fl.methods.cards:FEDDF",
        "fedftg": "mosaic_fl.methods.cards:FEDFTG",
        "dfrd": "mosaic_fl.methods.cards:DFRD",
        "dense": "mosaic_fl.methods.cards:DENSE",
        "coboosting": "mosaic_fl.methods.cards:COBOOSTING",
        "fedcvae": "mosaic_fl.methods.cards:FEDCVAE",
        "fens": "mosaic_fl.methods.cards:FENS",
        "fedcgs": "mosaic_fl.methods.vector_cards:FEDCGS",
        "fedpft": "mosaic_fl.methods.vector_cards:FEDPFT",
        "afl": "mosaic_fl.methods.vector_cards:AFL",
        "best_local": "mosaic_fl.methods.reference_cards:BEST_LOCAL",
        "mean_logits": "mosaic_fl.methods.reference_cards:MEAN_LOGITS",
        "mean_probabilities": "mosaic_fl.methods.reference_cards:MEAN_PROBABILITIES",
        "class_weighted": "mosaic_fl.methods.reference_cards:CLASS_WEIGHTED",
    },
)
"""Methods, by the name that `run.method` takes, in the order of tables."""

ATTACKS: "Registry[Attack]" = Registry(
    "attack",
    "mosaic_fl.attacks",
    {
        name: f"mosaic_fl.attacks.named:{name.upper()}"
        for name in (
            "label_flip",
            "label_flip_inflated",
            "label_flip_ninefold",
            "label_flip_under",
            "label_flip_claims",
            "label_flip_pair",
            "label_flip_rare",
            "class_numbering",
            "inflated",
            "ninefold",
            "constant",
            "loud",
            "expert_flip",
            "generator_flip",
            "generator_swap",
            "generator_none",
            "generator_blank",
            "generator_noise",
            "generator_collapsed",
            "collusion",
            "collusion_target",
            "backdoor",
            "backdoor_faint",
            "copied",
            "sybils",
            "sybils_hidden",
            "moments_scaled",
            "moments_flip",
            "model_replacement",
            "reversed_update",
        )
    },
)
"""Attacks by clients in simulations, by the name before the colon in `label_flip:2`."""
