"""Checks for settings that contradict each other. They need no data, so a command makes them first."""

from mosaic_fl.config import Config
from mosaic_fl.errors import UsageError


def check_real(config: Config) -> None:
    """Raise UsageError for settings that only a simulation has, for work with real clients."""
    if config.run.attack:
        raise UsageError(
            f"run.attack = {config.run.attack}: attacks are of a simulation alone, as mosaic run: leave it out"
        )


def check_one_exchange(config: Config) -> None:
    """Raise UsageError for settings that need a second exchange with the clients, for work on contributions alone."""
    check_real(config)
    requests = {
        "distill.choose = true": config.distill.choose is True,
        f"rounds.warm_up = {config.rounds.warm_up}": config.rounds.warm_up,
        f"rounds.fine_tune = {config.rounds.fine_tune}": config.rounds.fine_tune,
    }
    if again := [setting for setting, on in requests.items() if on]:
        raise UsageError(
            f"{', '.join(again)}: that asks clients again, and files have none: set it to false or 0, or let clients "
            "work together, with mosaic deploy or mosaic run"
        )


def check_audit(config: Config) -> None:
    """Raise UsageError for a gate that the method does not have: something would leave that no audit has seen."""
    gate = config.audit.gate
    if gate in ("auto", "off"):
        return
    if config.run.method != "mosaic":
        raise UsageError(
            f"audit.gate = {gate} audits contributions of mosaic, and {config.run.method} has no gate: set it to off"
        )
    if gate == "refuse" and (config.rounds.warm_up or config.rounds.fine_tune):
        raise UsageError(
            "audit.gate = refuse: rounds of averaging send weights that no audit has seen: set rounds.warm_up and "
            "rounds.fine_tune to 0, or the gate to warn"
        )


def check_prototypes(config: Config) -> None:
    """Raise UsageError for prototypes that would leave the sites and that nothing reads."""
    if not config.prototypes.per_class or (config.meta.kind != "none" and config.meta.source == "prototypes"):
        return
    meta = f"meta.kind = {config.meta.kind} and meta.source = {config.meta.source}"
    raise UsageError(
        f"prototypes.per_class is {config.prototypes.per_class}, and with {meta} nothing reads prototypes: set it "
        "to 0, or meta.source to prototypes"
    )


def check_teacher(config: Config) -> None:
    """Raise UsageError for a teacher that cannot be: switched off, or without samples to learn from."""
    settings = config.distill
    named = (settings.teacher, *settings.candidates)
    if "moments_meta" in named and config.meta.kind == "none":
        raise UsageError("distill.teacher is moments_meta, but meta.kind is none: set one of them otherwise")
    if "moments_meta" in named and config.generator.family == "none":
        raise UsageError("distill.teacher is moments_meta, which learns from generators, but generator.family is none")
    if gate := next((name for name in ("gate", "moments_gate") if name in named), ""):
        if config.generator.family == "none":
            raise UsageError(f"distill.teacher is {gate}, which learns from generators, but generator.family is none")
        if config.experts.kind == "class_average":
            raise UsageError(
                f"distill.teacher is {gate}, which chooses among clients' own experts: set experts.kind = clients"
            )
    if config.meta.kind == "none" and "meta" in (settings.teacher, *settings.candidates):
        raise UsageError("distill.teacher is meta, but meta.kind is none: set one of them otherwise")
    if asks_meta(config) and config.generator.family == "none":
        raise UsageError("distill.teacher is meta, which learns from generators, but generator.family is none")


def asks_meta(config: Config) -> bool:
    """Whether a possible teacher is a meta model that learns from samples of the clients' generators."""
    possible = "meta" in (config.distill.teacher, *config.distill.candidates)
    return possible and config.meta.kind != "none" and config.meta.source == "synthetic"
