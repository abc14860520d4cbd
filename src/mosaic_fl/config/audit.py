"""Settings of the audit of a contribution: docs/audit.md."""

from typing import Literal

from pydantic import Field

from mosaic_fl.config.section import Reader, ReadSection

ENOUGH = 200  # samples from which on `limit` holds


class AuditConfig(ReadSection):
    """What an audit may find, and what happens where it finds more."""

    readers = frozenset({Reader.TRAINING})

    gate: Literal["auto", "off", "warn", "refuse"] = Field(
        "auto",
        description="off; warn: say what was found; refuse: nothing above the limit leaves; auto: warn in "
        "`mosaic contribute`, off in a simulation",
    )
    limit: float = Field(
        0.6, gt=0.5, le=1, description="largest AUC, upper end of its 95 % interval, from 200 samples on"
    )
    small_limit: float = Field(0.65, gt=0.5, le=1, description="the same below 200 samples")
    strangers: Literal["auto", "validation", "halves"] = Field(
        "auto",
        description="who was not trained on: validation: what is held back; halves: two more trainings, each on one "
        "half; auto: validation, but halves where the gate refuses and the held-back samples are too few to pass",
    )
    shadows: int = Field(
        0, ge=0, le=16, description="pairs of shadow generators of lira_generator, as many as seconds allow; 0: none"
    )
    seconds: float = Field(20, gt=0, le=3600, description="of one core for the attacks, roughly")

    def limit_for(self, samples: int) -> float:
        """The limit for a site of so many training samples."""
        return self.limit if samples >= ENOUGH else self.small_limit
