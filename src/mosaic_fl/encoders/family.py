"""A family of public encoders: how one is made of its name. Open it to add a family."""

from collections.abc import Callable
from dataclasses import dataclass

from mosaic_fl.domains.kind import Kind
from mosaic_fl.encoders.carried import Carried
from mosaic_fl.encoders.encoder import Encoder

NOT_TOLD = "not told"


@dataclass(frozen=True)
class EncoderFamily:
    """One family.

    `make(argument, kind)` makes the encoder of values of this kind; `argument` is what follows the colon of its name,
    or empty. It raises UsageError for an argument or a kind that does not fit, and where a package is not installed.
    `kinds`: the kinds of values that it encodes. `trained_on`: what it has learnt from, in words. `received`: whether
    a name in received bytes may make one; never where that would read a file, import a module or fetch weights.
    `carried`: how one is made of the bytes in a global model's file; None where that would run code from there.
    """

    make: Callable[[str, Kind], Encoder]
    kinds: frozenset[str]
    trained_on: str = NOT_TOLD
    received: bool = True
    carried: Carried | None = None
