"""Checks of settings that contradict a method for any data. They run before anything is loaded."""

from mosaic_fl.config import Config
from mosaic_fl.config.checks import check_prototypes, check_teacher
from mosaic_fl.errors import UsageError


def check_mosaic(config: Config) -> None:
    """Raise UsageError where the server would need prototypes or validation splits that no client has."""
    check_teacher(config)
    check_prototypes(config)
    if config.meta.kind != "none" and config.meta.source == "prototypes" and not config.prototypes.per_class:
        raise UsageError("meta.source is prototypes, but prototypes.per_class is 0: set it to 5, say, or say synthetic")
    if config.distill.choose is True and not config.data.validation:
        raise UsageError("distill.choose asks the clients' validation splits, but data.validation is 0: say 0.1")


def check_proximal(config: Config) -> None:
    """Raise UsageError where μ is 0: a result of FedAvg must not carry the name FedProx."""
    if not config.train.proximal:
        raise UsageError("train.proximal is 0, and FedProx is then FedAvg: the paper has 0.01, or say --method fedavg")


def check_absent(config: Config) -> None:
    """Raise UsageError where α is 1: a result of FedAvg must not carry the name FedRS."""
    if config.train.absent == 1:
        raise UsageError("train.absent is 1, and FedRS is then FedAvg: the paper has 0.5, or say --method fedavg")


def check_fens(config: Config) -> None:
    """Raise UsageError where clients have no held-back data to train the aggregator on."""
    if not config.data.validation:
        raise UsageError("FENS trains its aggregator on held-back data, but data.validation is 0: the paper has 0.1")


def check_validation(config: Config) -> None:
    """Raise UsageError where clients have no validation split to choose on."""
    if not config.data.validation:
        raise UsageError("best_local chooses on the clients' validation splits, but data.validation is 0: say 0.1")


def check_decoders(config: Config) -> None:
    """Raise UsageError where the clients' generators are not conditional VAEs."""
    if config.generator.family != "cvae":
        raise UsageError(
            f"FedCVAE-Ens sends decoders of conditional VAEs, not {config.generator.family}: --generator cvae"
        )


def check_student_steps(config: Config) -> None:
    """Raise UsageError for `synthesis.student_steps` = 0: it means a pass over an image pool, and there is no pool."""
    if not config.synthesis.student_steps:
        raise UsageError(f"synthesis.student_steps is 0, but {config.run.method} has no image pool: give it some steps")
