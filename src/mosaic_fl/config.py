"""Every knob of a run: typed, validated, one section per stage. See `config_file` for TOML."""

import re
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mosaic_fl.errors import UsageError, unknown

Split = Literal[
    "niid_bench",
    "dirichlet_per_class",
    "equal_size_prior",
    "iid",
    "pathological",
    "quantity_skew",
    "feature_skew",
]


class Section(BaseModel):
    """One stage's knobs: frozen, and a name that does not exist is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RunConfig(Section):
    """What runs, and where."""

    method: Literal["mosaic", "fedavg", "heterofl", "fedrolex"] = Field(
        "mosaic", description="mosaic, fedavg, heterofl, fedrolex"
    )
    seed: int = Field(0, ge=0, le=2**62, description="all randomness comes from it")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
    workers: int = Field(0, ge=0, le=1024, description="processes for the clients' work; 0: one a core")
    threads: int = Field(1, ge=1, le=1024, description="threads of the server's work (small networks: 1 is fastest)")
    centralised: bool = Field(False, description="also train the student on the pooled data: the ceiling")


class DataConfig(Section):
    """The data set."""

    name: str = Field("digits", description="digits, a Parquet file or folder, an image folder, hub:NAME")
    image_size: int = Field(0, ge=0, le=1024, description="resize to this many pixels a side; 0: as they are")
    max_train: int = Field(0, ge=0, description="use a random subset of this many training samples; 0: all")
    max_test: int = Field(0, ge=0, description="use a random subset of this many test samples; 0: all")
    validation: float = Field(0.1, ge=0, le=0.5, description="share of a client's samples kept for its choices")


class PartitionConfig(Section):
    """How the training data is spread over clients."""

    split: Split = Field(
        "niid_bench",
        description="niid_bench, dirichlet_per_class, equal_size_prior, iid, pathological, quantity_skew, feature_skew",
    )
    clients: int = Field(5, ge=1, le=10_000, description="number of clients")
    alpha: float = Field(0.1, gt=0, description="Dirichlet concentration: smaller is more different")
    min_samples: int = Field(10, ge=1, description="least samples a client (niid_bench, quantity_skew)")
    classes_per_client: int = Field(2, ge=1, description="classes each client holds (pathological)")
    noise: float = Field(0.3, ge=0, le=2, description="greatest pixel noise of a client, in −1..1 units (feature_skew)")
    retries: int = Field(1000, ge=1, le=1_000_000, description="draws before a split is given up")


class ModelsConfig(Section):
    """Architectures."""

    clients: tuple[str, ...] = Field((), description="given to clients in turn; empty: a mix that suits the data")
    student: str = Field("", description="the global model; empty: one that suits the data")
    ratios: tuple[float, ...] = Field(
        (1.0, 0.5, 0.25, 0.125, 0.0625), description="width of each client's sub-model in turn (heterofl, fedrolex)"
    )


class TrainConfig(Section):
    """Training of a classifier: at the client, and of the pooled-data ceiling."""

    optimiser: Literal["adamw", "sgd"] = Field("adamw", description="adamw or sgd")
    lr: float = Field(2e-3, gt=0, description="peak learning rate")
    weight_decay: float = Field(1e-2, ge=0, description="weight decay")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of sgd")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="cosine (with warm-up) or constant")
    batch_size: int = Field(64, ge=1, description="samples a step")
    epochs: float = Field(30, gt=0, description="passes over the client's training samples")
    min_steps: int = Field(200, ge=1, description="least steps, for small clients")
    max_steps: int = Field(2000, ge=1, description="most steps, for large clients; stronger than min_steps")
    patience: int = Field(10, ge=0, description="checks without a better validation loss before stopping; 0: never")
    check_every: int = Field(50, ge=1, description="steps between checks on the validation split")
    absent: float = Field(
        1.0, ge=0, le=1, description="factor on the logits of classes a client lacks (FedRS: 0.5; masked: 0)"
    )
    proximal: float = Field(0.0, ge=0, description="weight of the squared distance from the start (FedProx: 0.01)")


class GeneratorConfig(Section):
    """The client's generator of synthetic samples."""

    family: Literal["auto", "cvae", "dcgan", "cdcgan", "flow", "none"] = Field(
        "auto", description="auto, cvae, dcgan (the paper's, unconditional), cdcgan (conditional), flow (GPU), none"
    )
    min_samples: int = Field(20, ge=2, description="a client with fewer sends no generator")
    steps: int = Field(1500, ge=1, description="training steps")
    epochs: float = Field(0, ge=0, description="passes over the client's samples instead of steps; 0: steps")
    batch_size: int = Field(64, ge=2, description="samples a step")
    lr: float = Field(2e-3, gt=0, description="peak learning rate (dcgan: 2e-4 is the paper's)")
    latent: int = Field(
        16, ge=1, le=1024, description="size of the latent z (dcgan: the paper's is 100; flow has its own)"
    )
    width: int = Field(16, ge=1, le=1024, description="base channels (dcgan: 64 is the paper's)")
    kl: float = Field(0.5, ge=0, description="cvae: weight of the KL term")
    adversarial: float = Field(1.0, ge=0, description="dcgan: weight of the adversarial term")
    entropy: float = Field(1.0, ge=0, description="dcgan: weight of the entropy term (confident samples)")
    diversity: float = Field(5.0, ge=0, description="dcgan: weight of the diversity term (all the client's classes)")
    inversion: float = Field(1.0, ge=0, description="dcgan: weight of the inversion term (batch-norm statistics)")
    inversion_below: int = Field(500, ge=0, description="dcgan: inversion only for clients with fewer samples (τ)")


class PrototypesConfig(Section):
    """k-means centres of penultimate features, per class."""

    per_class: int = Field(10, ge=0, le=1000, description="centres a class at most; 0: send none")
    min_cluster: int = Field(5, ge=1, description="least samples behind a centre: a cluster of one is that sample")


class ExpertsConfig(Section):
    """The mixture of experts."""

    kind: Literal["clients", "class_average"] = Field(
        "clients", description="clients: their own models; class_average: the paper's, one a class, of equal models"
    )


class MetaConfig(Section):
    """The meta model that fuses the experts' outputs."""

    kind: Literal["transformer", "mlp", "none"] = Field(
        "transformer", description="transformer, mlp, or none (the class-weighted ensemble teaches)"
    )
    source: Literal["synthetic", "prototypes"] = Field(
        "synthetic", description="learns from synthetic samples, or prototypes (equal models)"
    )
    samples: int = Field(8000, ge=1, description="labelled synthetic samples it learns from")
    holdout: float = Field(0.2, gt=0, lt=1, description="share of them kept to choose its best step")
    steps: int = Field(300, ge=1, description="training steps")
    batch_size: int = Field(128, ge=1, description="samples a step")
    lr: float = Field(1e-3, gt=0, description="peak learning rate")
    weight_decay: float = Field(1e-2, ge=0, description="weight decay")
    width: int = Field(64, ge=4, le=4096, description="embedding size (a multiple of heads)")
    layers: int = Field(2, ge=1, le=16, description="encoder layers, or hidden layers of the MLP")
    heads: int = Field(4, ge=1, le=64, description="attention heads")
    ema: float = Field(0.99, ge=0, lt=1, description="decay of the averaged weights; 0: none")

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.kind == "transformer" and self.width % self.heads:
            raise ValueError(f"meta.width {self.width} is not a multiple of meta.heads {self.heads}")
        return self


class DistillConfig(Section):
    """Distillation of the teacher into the one global model."""

    pool: int = Field(16_000, ge=1, description="synthetic samples")
    balanced: bool = Field(True, description="classes drawn evenly; false: every generator alike, as classes fall")
    fresh: bool = Field(False, description="new synthetic samples in every step instead of a pool")
    prior: str = Field("auto", description="images beside them: photos, procedural, none, a folder; auto: by the data")
    prior_pool: int = Field(16_000, ge=0, description="prior images")
    cutmix: float = Field(0.5, ge=0, le=1, description="share of the prior images mixed with synthetic samples")
    teacher: Literal["auto", "meta", "class_weighted", "mean_probabilities", "mean_logits"] = Field(
        "auto", description="auto, meta, class_weighted, mean_probabilities, mean_logits"
    )
    choose: bool = Field(False, description="let clients score short students to choose teacher and label's share")
    candidate_share: float = Field(0.3, gt=0, le=1, description="share of the steps that such a short student gets")
    steps: int = Field(1200, ge=1, description="training steps")
    batch_size: int = Field(128, ge=2, description="samples a step")
    lr: float = Field(2e-3, gt=0, description="peak learning rate")
    weight_decay: float = Field(1e-2, ge=0, description="weight decay")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="cosine (with warm-up) or constant")
    temperature: float = Field(1.0, gt=0, description="softens teacher and student in the KL and JSD terms")
    kl: float = Field(0.5, ge=0, description="weight of KL(teacher ‖ student)")
    label: float = Field(0.5, ge=0, description="weight of cross-entropy with the generator's label")
    teacher_label: float = Field(0.0, ge=0, description="weight of cross-entropy with the teacher's label")
    jsd: float = Field(0.0, ge=0, description="weight of the Jensen–Shannon divergence")
    ema: float = Field(0.995, ge=0, lt=1, description="decay of the student's averaged weights; 0: none")
    holdout: float = Field(0.05, ge=0, lt=1, description="share of the pool kept to choose the best step; 0: the last")

    @model_validator(mode="after")
    def _something_teaches(self) -> Self:
        if not (self.kl or self.label or self.teacher_label or self.jsd):
            raise ValueError("distill.kl, label, teacher_label and jsd are all 0: nothing would teach the student")
        if self.choose and not (self.kl or self.label):
            raise ValueError("distill.choose weighs distill.kl against distill.label: give one of them a weight")
        return self


class RoundsConfig(Section):
    """Rounds of weight averaging: before the contributions, and after the distillation."""

    kind: Literal["fedavg", "heterofl", "fedrolex"] = Field(
        "fedavg", description="fedavg: equal models; heterofl, fedrolex: sub-models of one, by models.ratios"
    )
    warm_up: int = Field(0, ge=0, le=9999, description="rounds before the contributions; all rounds of other methods")
    fine_tune: int = Field(0, ge=0, le=9999, description="rounds that fine-tune the distilled model")
    participation: float = Field(1.0, gt=0, le=1, description="share of the clients that take part in a round")
    steps: int = Field(0, ge=0, description="local steps a round; 0: as in [train]")
    fine_tune_lr: float = Field(1e-4, gt=0, description="learning rate of the fine-tuning rounds")
    masked: bool = Field(True, description="heterofl, fedrolex: local softmax over the classes a client holds")


class Config(Section):
    """A whole run."""

    run: RunConfig = RunConfig()
    data: DataConfig = DataConfig()
    partition: PartitionConfig = PartitionConfig()
    models: ModelsConfig = ModelsConfig()
    train: TrainConfig = TrainConfig()
    generator: GeneratorConfig = GeneratorConfig()
    prototypes: PrototypesConfig = PrototypesConfig()
    experts: ExpertsConfig = ExpertsConfig()
    meta: MetaConfig = MetaConfig()
    distill: DistillConfig = DistillConfig()
    rounds: RoundsConfig = RoundsConfig()

    def with_values(self, values: dict[str, Any]) -> "Config":
        """A copy with {"section.key": value} put in, validated; raises UsageError as `validate` does."""
        tree = self.model_dump()
        for path, value in values.items():
            section, _, key = path.partition(".")
            if not key:
                raise UsageError(f"{path!r} is not a setting: write SECTION.KEY, as in distill.steps")
            if section not in tree:
                raise unknown("section", section, tree)
            tree[section][key] = value
        return validate(tree)


def validate(tree: dict[str, Any], source: str = "") -> Config:
    """A `Config` from nested dictionaries, which came from `source`.

    Raises UsageError with one line: the first wrong setting, its value, and what would be right.
    """
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        wrong = _explain(error)
        raise UsageError(f"{source}: {wrong}" if source else wrong) from error


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    where = [str(part) for part in first["loc"]]
    path = ".".join(where[:2])
    if first["type"] == "extra_forbidden":
        return str(unknown("setting", path, _settings()))
    if first["type"] == "literal_error":
        known = re.findall(r"'([^']+)'", str(first.get("ctx", {}).get("expected", "")))
        return str(unknown(path, str(first["input"]), known))
    if first["type"] == "value_error":  # one of the validators here, which say it all
        return str(first["ctx"]["error"])
    return f"{path} is {first['input']!r}, but it {first['msg'].replace('Input should', 'should')}"


def _settings() -> list[str]:
    sections = Config.model_fields
    return [
        *sections,
        *(f"{s}.{k}" for s, f in sections.items() for k in f.annotation.model_fields),  # type: ignore[union-attr]
    ]
