"""What a site lets leave, whatever it is asked for: the table [limits] of its own file, which no server sets."""

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from mosaic_fl.config.audit import AuditConfig
from mosaic_fl.config.names import GeneratorName
from mosaic_fl.config.section import Section
from mosaic_fl.config.toml import read_toml
from mosaic_fl.errors import UsageError, excerpt, unknown

GATES = ("off", "warn", "refuse")
"""From the mildest to the strictest."""


class SiteLimits(Section):
    """Floors, budgets and what may leave. A request beyond them is refused, with the limit that refuses it."""

    epsilon: float | None = Field(None, gt=0, description="budget: the sum of ε of all that ever leaves of these data")
    delta: float | None = Field(None, gt=0, lt=1, description="the same of δ")
    expert: bool = Field(
        True, description="whether weights of a model may leave; false: noisy moments and answers alone"
    )
    generator: bool | tuple[GeneratorName, ...] = Field(
        True, description='whether a generator may leave, or which families, as ["moments", "cart"]'
    )
    moments: bool = Field(True, description="whether class moments of a public encoder may leave beside a model")
    min_cluster: int = Field(5, ge=1, description="least samples behind a mean or a sum; 1: they may be single samples")
    prototypes: int = Field(10, ge=0, description="most prototypes a class, and most generator.components")
    least_samples: int = Field(1, ge=1, description="with fewer samples nothing leaves")
    figures: bool = Field(False, description="whether figures of validation and training may leave, for the report")
    steps: int = Field(100_000, ge=1, description="most training steps of one request")
    contributions: int = Field(100, ge=0, description="most different contributions about the same data, ever")
    rounds: int = Field(1000, ge=0, description="most answers with weights, sums or statistics about them")
    judged: int = Field(1000, ge=0, description="most models that are judged on the validation split, counts by class")
    queries: int = Field(1000, ge=0, description="most queries that a black box answers")
    gate: Literal["off", "warn", "refuse"] = Field(
        "off", description="refuse: no contribution leaves that its audit has not passed, and nothing that has no audit"
    )
    auc: float = Field(0.6, gt=0.5, le=1, description="largest AUC of the gate, upper end, from 200 samples on")
    small_auc: float = Field(0.65, gt=0.5, le=1, description="the same below 200 samples")

    def audit(self, wish: AuditConfig) -> AuditConfig:
        """The settings of the audit here: of each the stricter, that of the request `wish` or the site's own."""
        if self.gate == "off":
            return wish
        gate = max(self.gate, wish.gate if wish.gate in GATES else "off", key=GATES.index)
        own = {
            "gate": gate,
            "limit": min(wish.limit, self.auc),
            "small_limit": min(wish.small_limit, self.small_auc),
            "seconds": max(wish.seconds, AuditConfig().seconds),  # a short audit finds less
        }
        return wish.model_copy(update=own)


def read_limits(path: Path) -> SiteLimits:
    """The table [limits] of a file, as that of a deployed site; raises UsageError that names the file.

    The rest of the file is not read.
    """
    tree = read_toml(path).get("limits")
    if tree is None:
        raise UsageError(f"{path} has no table [limits]: docs/privacy.md has one")
    try:
        return SiteLimits.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["limits", *(str(part) for part in first["loc"][:1])])
        if first["type"] == "extra_forbidden":
            raise unknown("setting", where, [f"limits.{name}" for name in SiteLimits.model_fields]) from error
        if where == "limits.generator":  # a union, of which pydantic's message tells one part
            raise UsageError(
                f"{path}: {where} is {excerpt(tree['generator'])}, but it should be true, false or families"
            ) from error
        should = first["msg"].replace("Input should", "should")
        raise UsageError(f"{path}: {where} is {excerpt(first['input'])}, but it {should}") from error
