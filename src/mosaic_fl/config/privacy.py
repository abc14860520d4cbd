"""Settings of differential privacy in what leaves a site."""

import math
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from mosaic_fl.config.section import Reader, ReadSection

MOST_EPSILON = 100


def without_limit(value: Any) -> Any:
    """0, which means no noise, for an ε without limit (inf), in whatever form it was written; else the value."""
    try:
        return 0.0 if not isinstance(value, bool) and float(value) == math.inf else value
    except (TypeError, ValueError, OverflowError):
        return value


Epsilon = Annotated[float, BeforeValidator(without_limit), Field(ge=0, le=MOST_EPSILON)]
"""The ε of a contribution; 0 and inf: none, and so no noise."""


class PrivacyConfig(ReadSection):
    """(ε, δ)-differential privacy of one sample in a contribution: docs/privacy.md."""

    readers = frozenset({Reader.TRAINING, Reader.SERVER})

    epsilon: Epsilon = Field(0.0, description="ε of all that a contribution has; 0 or inf: no noise")
    delta: float = Field(1e-5, gt=0, le=0.01, description="δ of it; less than one in the number of samples")
    clip: float = Field(0.0, ge=0, description="moments: longest vector, public; 0: that of the encoder")
    counts: float = Field(0.02, gt=0, lt=1, description="share of the budget for the class counts")
    squares: float = Field(0.5, gt=0, lt=1, description="moments: share for the squares; sums have the rest")
    expert: float = Field(0.5, gt=0, lt=1, description="share of a network as the client's model, beside a generator")
    latents: float = Field(0.1, gt=0, lt=1, description="cvae: of the generator's share, that of its latents' moments")
    rate: float = Field(0.05, gt=0, le=0.5, description="networks: the chance of a sample to be in a step")
    gradient: float = Field(1.0, gt=0, description="networks: the length to which a sample's gradient is shortened")
    lr: float = Field(0.01, gt=0, description="networks: peak learning rate, in place of train.lr and generator.lr")

    @model_validator(mode="after")
    def _sums_have_a_share(self) -> Self:
        if self.counts + self.squares >= 1:
            raise ValueError(
                f"privacy.counts {self.counts} and privacy.squares {self.squares} leave no share for the sums: "
                "together they are below 1"
            )
        return self

    @model_validator(mode="after")
    def _noise_or_no_setting_of_it(self) -> Self:
        """Without an ε no setting of noise does anything, and all would leave as it is."""
        fields = type(self).model_fields
        idle = [name for name, value in self if name != "epsilon" and value != fields[name].default]
        if idle and not self.epsilon:
            names = ", ".join(f"privacy.{name}" for name in idle)
            raise ValueError(f"{names} without an epsilon above 0 adds no noise: set privacy.epsilon, too")
        return self

    @property
    def shares(self) -> tuple[float, float, float]:
        """Of counts, sums and squares, which sum to 1."""
        return self.counts, 1 - self.counts - self.squares, self.squares
