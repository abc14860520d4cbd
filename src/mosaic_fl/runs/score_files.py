"""Sites' scores that came as files: read, put together, and written into the result of the run that they judge."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.exchange.model_file import model_file
from mosaic_fl.exchange.score_names import GLOBAL
from mosaic_fl.exchange.signers import Signers
from mosaic_fl.exchange.site_scores import MAX_BYTES, SiteScores
from mosaic_fl.runs.cross_site import KEY, table
from mosaic_fl.runs.result import FILE, read_result
from mosaic_fl.runs.signed_files import read_signed
from mosaic_fl.storage import container
from mosaic_fl.storage.files import write_atomic
from mosaic_fl.storage.folder_lock import occupy
from mosaic_fl.storage.keys import PrivateKey


def read_scores(
    paths: Sequence[Path], key: PrivateKey | None = None, signers: Signers | None = None
) -> dict[int, SiteScores]:
    """The scores in `paths` by client; encrypted ones are read by `key`, and with `signers` each must be signed.

    Raises UsageError that names the file, and for two of one client or of different numbers of classes.
    """
    sites = read_signed(paths, SiteScores.from_bytes, key, signers, command="evaluate", limit=2 * MAX_BYTES)
    classes = next(iter(sites.values())).classes
    for path, scores in zip(paths, sites.values(), strict=True):
        if scores.classes != classes:
            raise UsageError(f"{path} is of {scores.classes} classes, and {paths[0]} of {classes}")
    return sites


def collected(sites: dict[int, SiteScores]) -> dict[str, Any]:
    """The table of these sites, whose classes have numbers for names."""
    entry: dict[str, Any] = table(sites, {}, [str(number) for number in range(next(iter(sites.values())).classes)])[KEY]
    return entry


def into_run(run: Path, sites: dict[int, SiteScores]) -> dict[str, Any]:
    """The table, written into `result.json` of the folder `run` in place of any other; returns it.

    Raises UsageError where no run has ended there, and for scores that are not of its global model.
    """
    occupy(run)
    file = model_file(run)
    result = read_result(run)
    if file == run or result is None or "seconds" not in result:
        raise UsageError(f"{run} has no result.json: name the folder of a run that has ended, its --out")
    content = container.read_bytes(file)
    digest = hashlib.sha256(content).hexdigest()
    for client, scores in sites.items():
        if digest not in {model.digest for model in scores.models if model.model == GLOBAL}:
            raise UsageError(f"the scores of client {client} are of another model than {file}: it evaluates this one")
    schema = GlobalModel.from_bytes(content, str(file)).schema
    if schema.num_classes != (classes := next(iter(sites.values())).classes):
        raise UsageError(f"{file} has {schema.num_classes} classes, and the scores are of {classes}")
    why = {client: "no file of its scores came" for client in result.get("contributors") or [] if client not in sites}
    entry = table(sites, why, schema.classes)
    write_atomic(run / FILE, json.dumps({**result, **entry}, indent=2) + "\n")
    found: dict[str, Any] = entry[KEY]
    return found
