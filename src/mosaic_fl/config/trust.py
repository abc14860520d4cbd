"""Settings of what the server believes."""

from pydantic import Field

from mosaic_fl.config.section import Reader, ReadSection


class TrustConfig(ReadSection):
    """The server's defence against contributions that are false: docs/trust.md."""

    readers = frozenset({Reader.SERVER})

    defence: bool = Field(
        True, description="compare contributions, and count those in part or not that others contradict"
    )
    keep: tuple[int, ...] = Field((), description="clients' numbers that count in full whatever is said of them")
    strict: bool = Field(False, description="what would count in part is left out, too")
