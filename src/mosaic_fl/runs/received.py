"""Contributions as they come: decrypted, their signatures checked, then read."""

from collections.abc import Sequence
from pathlib import Path

from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.filed import ContributionFiles
from mosaic_fl.exchange.signers import Signers
from mosaic_fl.notes import note
from mosaic_fl.storage.container import read_bytes
from mosaic_fl.storage.keys import PrivateKey
from mosaic_fl.storage.signature import signature_of


def read_contributions(
    paths: Sequence[Path], key: PrivateKey | None = None, signers: Signers | None = None, *, again: bool = False
) -> list[Contribution]:
    """The contributions in `paths`; encrypted ones are read by `key`, and with `signers` each must be signed.

    Their weights stay in the files, which are read again when these are used (`filed`). A signature is checked before
    anything of its file is built. Raises UsageError that names the file. A note tells of signatures that nobody checks,
    but for files that are read `again`, after their SHA-256 was compared.
    """
    contributions = list[Contribution]()
    files = ContributionFiles(key)
    signed = 0
    for path in paths:
        content = read_bytes(path, key)
        if signers is None:
            signed += signature_of(content, str(path))[0] is not None
            contribution = Contribution.from_bytes(content, str(path))
        else:
            contribution = signers.read(content, str(path), Contribution.from_bytes)
        contributions.append(files.filed(contribution, path, content))
    if signed and not again:
        note(f"{signed} of {len(paths)} contributions are signed, which nobody checks here: --signers FOLDER does")
    return contributions
