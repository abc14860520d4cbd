"""Settings of differential privacy in what leaves a site."""

from typing import Self

from pydantic import Field, model_validator

from mosaic_fl.config.section import Reader, ReadSection


class PrivacyConfig(ReadSection):
    """(ε, δ)-differential privacy of one sample in a contribution: docs/encoders.md."""

    readers = frozenset({Reader.TRAINING, Reader.SERVER})

    epsilon: float = Field(0.0, ge=0, le=100, description="ε of a contribution of class moments; 0: no noise")
    delta: float = Field(1e-5, gt=0, le=0.01, description="δ of it; less than one in the number of samples")
    clip: float = Field(0.0, ge=0, description="longest vector, public; 0: that of the encoder (gabor, strokes)")
    counts: float = Field(0.02, gt=0, lt=1, description="share of the budget for the class counts")
    squares: float = Field(0.5, gt=0, lt=1, description="share for the squares; sums have the rest")

    @model_validator(mode="after")
    def _sums_have_a_share(self) -> Self:
        if self.counts + self.squares >= 1:
            raise ValueError(
                f"privacy.counts {self.counts} and privacy.squares {self.squares} leave no share for the sums: "
                "together they are below 1"
            )
        return self

    @property
    def shares(self) -> tuple[float, float, float]:
        """Of counts, sums and squares, which sum to 1."""
        return self.counts, 1 - self.counts - self.squares, self.squares
