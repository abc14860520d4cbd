"""The words of `--attack`: the name of an attack, and how many clients lie, as in "label_flip:2"."""

from mosaic_fl.errors import UsageError, excerpt
from mosaic_fl.registries import ATTACKS


def parse(text: str) -> tuple[str, int]:
    """(the name of the attack, how many clients lie): one client lies where no number is there.

    Raises UsageError for a name that is no attack, and for a number that is not whole and at least 1.
    """
    name, colon, number = text.partition(":")
    if name not in ATTACKS:
        raise UsageError(f"unknown attack {excerpt(name)}: known are {', '.join(ATTACKS)}")
    if colon and not (number.isascii() and number.isdigit() and int(number[:9]) >= 1):
        raise UsageError(f"attack {excerpt(text)}: behind the colon stands how many clients lie, as in {name}:2")
    return name, int(number[:9]) if colon else 1
