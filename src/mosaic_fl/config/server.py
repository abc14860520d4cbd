"""Settings of the server's work: experts, meta model, distillation, its own generator, rounds."""

from typing import Literal, Self

from pydantic import Field, model_validator

from mosaic_fl.config.names import TeacherName, TeacherOrAuto
from mosaic_fl.config.section import Reader, ReadSection
from mosaic_fl.numerics.devices import Precision


class ExpertsConfig(ReadSection):
    """The mixture of experts."""

    readers = frozenset({Reader.SERVER})

    kind: Literal["clients", "class_average"] = Field(
        "clients", description="clients: their own models; class_average: the paper's, one a class, of equal models"
    )


class MetaConfig(ReadSection):
    """The meta model that fuses the experts' outputs."""

    readers = frozenset({Reader.AGGREGATOR, Reader.SERVER})

    kind: Literal["transformer", "none"] = Field(
        "transformer", description="transformer, or none (the class-weighted ensemble teaches)"
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
    layers: int = Field(2, ge=1, le=16, description="encoder layers")
    heads: int = Field(4, ge=1, le=64, description="attention heads")
    ema: float = Field(0.99, ge=0, lt=1, description="decay of the averaged weights; 0: none")

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.kind == "transformer" and self.width % self.heads:
            raise ValueError(f"meta.width {self.width} is not a multiple of meta.heads {self.heads}")
        return self


class DistillConfig(ReadSection):
    """Distillation of the teacher into the one global model."""

    readers = frozenset({Reader.SERVER})

    pool: int = Field(
        0,
        ge=0,
        description="synthetic samples; 0: 16,000 of weak generators, up to 40,000 of those that serve alone",
    )
    balanced: bool | Literal["auto", "counts"] = Field(
        "auto",
        description="true: classes drawn evenly; counts: as clients' data lie; auto: counts for rows, else true; "
        "false: every generator alike, as classes fall",
    )
    fresh: bool = Field(False, description="new synthetic samples in every step instead of a pool")
    prior: str = Field("auto", description="images beside them: photos, procedural, none, a folder; auto: as needed")
    prior_pool: int = Field(16_000, ge=0, description="prior images; where prior is auto the most of them")
    cutmix: float = Field(0.5, ge=0, le=1, description="share of the prior images mixed with synthetic samples")
    inversion: int = Field(
        10,
        ge=0,
        le=1000,
        description="steps by which pictures decoded of class moments are moved to the vectors they were drawn from",
    )
    plain: bool = Field(True, description="beside prior images, learn from the synthetic samples as they are, too")
    hybrid: float = Field(
        0.0, ge=0, le=1, description="share of the prior images whose layout is a synthetic sample's, not mixed further"
    )
    augment: Literal["auto", "none", "flip", "shift", "shift_flip"] = Field(
        "none",
        description="the student's batches varied: none, flip, shift, shift_flip; auto: by the data",
    )
    teacher: TeacherOrAuto = Field(
        "auto",
        description="auto, meta, class_balanced, class_evened, class_weighted, gate, moments, product, "
        "moments_gate, moments_meta, mean_probabilities, mean_logits",
    )
    candidates: tuple[TeacherName, ...] = Field(
        (), description="teachers that choose tries; empty: the given one, or for auto the best and three ensembles"
    )
    gate_samples: int = Field(
        8000, ge=1, description="synthetic samples on which a gate learns which client's generator drew them"
    )
    choose: bool | Literal["auto"] = Field(
        "auto", description="let clients score short students to choose how to teach; auto: where generators are weak"
    )
    candidate_share: float = Field(0.2, gt=0, le=1, description="share of the steps that such a short student gets")
    steps: int = Field(1200, ge=1, description="training steps of a term")
    terms: int = Field(
        4, ge=1, le=100, description="most terms: another one follows while the student gains on its teacher"
    )
    retry: bool = Field(
        True, description="where generators are weak, let clients compare it with a student of prior images alone"
    )
    batch_size: int = Field(128, ge=2, description="samples a step")
    precision: Precision = Field("auto", description="as train.precision")
    lr: float = Field(2e-3, gt=0, description="peak learning rate")
    weight_decay: float = Field(1e-2, ge=0, description="weight decay")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="cosine (with warm-up) or constant")
    temperature: float = Field(1.0, gt=0, description="softens teacher and student in the KL and JSD terms")
    kl: float = Field(0.5, ge=0, description="weight of KL(teacher ‖ student); see overlap")
    label: float = Field(0.5, ge=0, description="weight of cross-entropy with the generator's label; see overlap")
    overlap: bool = Field(
        True,
        description="kl loses to label what clients' classes do not overlap, as far as experts recognise the samples",
    )
    teacher_label: float = Field(0.0, ge=0, description="weight of cross-entropy with the teacher's label")
    jsd: float = Field(0.0, ge=0, description="weight of the Jensen–Shannon divergence")
    ema: float = Field(0.995, ge=0, lt=1, description="decay of the student's averaged weights; 0: none")
    holdout: float = Field(0.05, ge=0, lt=1, description="share of the pool kept to choose the best step; 0: the last")

    @model_validator(mode="after")
    def _something_teaches(self) -> Self:
        if not (self.kl or self.label or self.teacher_label or self.jsd):
            raise ValueError("distill.kl, label, teacher_label and jsd are all 0: nothing would teach the student")
        if self.choose is True and not (self.kl or self.label):
            raise ValueError("distill.choose weighs distill.kl against distill.label: give one of them a weight")
        return self

    @property
    def both(self) -> float:
        """The weight of teacher and label together: the sum of `kl` and `label`."""
        return self.kl + self.label

    @property
    def label_share(self) -> float:
        """The label's share of `both`, 0..1; 0 where neither has a weight."""
        return self.label / self.both if self.both else 0.0


class SynthesisConfig(ReadSection):
    """The server's own generator, which DENSE, Co-Boosting, FedFTG, DFRD and FedGen train against clients' models."""

    readers = frozenset({Reader.SERVER})

    epochs: int = Field(200, ge=1, description="turns of generator and student (in each round, where there are rounds)")
    generator_steps: int = Field(30, ge=1, description="steps of the generator in each")
    student_steps: int = Field(30, ge=0, description="steps of the student in each; 0: a pass over its image pool")
    batch_size: int = Field(128, ge=2, description="samples a step; DENSE, Co-Boosting: that an epoch adds to the pool")
    pool_batch_size: int = Field(0, ge=0, description="DENSE, Co-Boosting: images a step on their pool; 0: batch_size")
    lr: float = Field(1e-3, gt=0, description="learning rate of the generator (Adam)")
    student_lr: float = Field(1e-2, gt=0, description="learning rate of the student (SGD, momentum 0.9)")
    latent: int = Field(100, ge=1, le=1024, description="size of its latent z")
    width: int = Field(32, ge=1, le=1024, description="its base channels")
    label: float = Field(1.0, ge=0, description="weight of the cross-entropy with the label asked for (fidelity)")
    statistics: float = Field(1.0, ge=0, description="DENSE, Co-Boosting: weight of the batch-norm statistics")
    adversarial: float = Field(1.0, ge=0, description="not FedGen: weight of the teacher's distance from the student")
    diversity: float = Field(1.0, ge=0, description="FedFTG, DFRD, FedGen: weight of the diversity of samples")
    temperature: float = Field(4.0, gt=0, description="DENSE, Co-Boosting: of the student's distillation")
    ema: float = Field(0.0, ge=0, lt=1, description="decay of the generator's averaged weights (DFRD: 0.5); 0: none")
    local: float = Field(1.0, ge=0, description="FedGen: weight of the loss on generated features at the client")
    weight_step: float = Field(0.01, ge=0, description="Co-Boosting: step of the ensemble's weights")
    weight_decay: float = Field(0.99, gt=0, le=1, description="Co-Boosting: decay of that step an epoch")
    perturbation: float = Field(8 / 255, ge=0, description="Co-Boosting: length of the perturbation, pixels in 0..1")

    @model_validator(mode="after")
    def _pool_batch_has_two(self) -> Self:
        if self.pool_batch_size == 1:  # batch norm needs two values
            raise ValueError("synthesis.pool_batch_size is 1: give it 2 or more, or 0 for synthesis.batch_size")
        return self

    @property
    def pool_batch(self) -> int:
        """Images of the pool in one step of the student, or of Co-Boosting's weights."""
        return self.pool_batch_size or self.batch_size


class RoundsConfig(ReadSection):
    """Rounds of weight averaging: before the contributions, and after the distillation."""

    readers = frozenset({Reader.SERVER})

    kind: Literal["fedavg", "heterofl", "fedrolex"] = Field(
        "fedavg", description="Mosaic, DFRD: equal models, or as heterofl and fedrolex sub-models by models.ratios"
    )
    warm_up: int = Field(0, ge=0, le=9999, description="rounds before the contributions; all rounds of other methods")
    fine_tune: int = Field(0, ge=0, le=9999, description="rounds that fine-tune the distilled model")
    participation: float = Field(1.0, gt=0, le=1, description="share of the clients that take part in a round")
    steps: int = Field(0, ge=0, description="local steps a round; 0: as in [train]")
    optimiser: Literal["auto", "sgd", "adamw", "train"] = Field(
        "auto", description="in rounds: sgd, adamw; train: as [train]; auto: sgd, but train for parts of several widths"
    )
    lr: float = Field(0.01, gt=0, description="its peak learning rate, where it is not that of [train]")
    fine_tune_lr: float = Field(1e-4, gt=0, description="of the fine-tuning rounds, by the optimiser of [train]")
    aggregate: Literal["mean", "median", "trimmed", "krum", "geometric_median"] = Field(
        "mean", description="mean, or what a few lying clients move little: median, trimmed, krum, geometric_median"
    )
    liars: float = Field(0.2, gt=0, lt=0.5, description="share of a round's clients that aggregate stands, rounded up")
    mix: bool = Field(False, description="before aggregate each model becomes the mean of its nearest neighbours")
    masked: bool = Field(True, description="heterofl, fedrolex: local softmax over the classes a client holds")
