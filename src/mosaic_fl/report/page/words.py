"""How a page writes figures."""

NONE = "–"


def percent(share: float) -> str:
    """As "98.2 %"."""
    return f"{100 * share:.1f} %"


def share(value: float | None) -> str:
    """As `percent`; a dash where nothing was measured."""
    return NONE if value is None else percent(value)


def points(value: float | None, digits: int = 1) -> str:
    """As "+1.2" or "−1.2"; "0.0" has no sign."""
    if value is None:
        return NONE
    text = f"{value:+.{digits}f}"
    return text.replace("-", "−") if float(text) else text[1:]


def count(value: float | None) -> str:
    """As "1,442"."""
    return NONE if value is None else f"{value:,.0f}"


def size(value: float | None) -> str:
    """Bytes, as "1.2 MB" or "12.0 kB"."""
    if value is None:
        return NONE
    return f"{value / 1e6:.1f} MB" if value >= 1e5 else f"{value / 1e3:.1f} kB"


def time(seconds: float | None) -> str:
    """As "76 s" or "12 min"."""
    if seconds is None:
        return NONE
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )


def number(value: float | None) -> str:
    """With three significant digits, as "0.954" or "12.3"."""
    return NONE if value is None else f"{value:.3g}"


def shortened(name: str, most: int = 30) -> str:
    """A name of `most` letters at most."""
    return name if len(name) <= most else name[: most - 1] + "…"


def more(shown: int, total: int, what: str) -> str:
    """What a caption says where not all are shown, as " The first 40 of 1,000 sites."; else nothing."""
    return f" The first {shown:,} of {total:,} {what}; result.json has all." if shown < total else ""
