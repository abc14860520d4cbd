"""From contribution files to a folder with the global model: the server's side of the file exchange."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mosaic_fl.config import Config
from mosaic_fl.contribution import Contribution
from mosaic_fl.data.sources import load_test
from mosaic_fl.devices import find_device
from mosaic_fl.evaluation import figures
from mosaic_fl.files import sha256, write_atomic
from mosaic_fl.journal import Journal
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.models import check, default_student, trust
from mosaic_fl.monitor import Listener, deaf
from mosaic_fl.run_folder import claim
from mosaic_fl.server.checks import check_distillation, check_one_exchange
from mosaic_fl.server.distill import compatible, distill


def distill_files(
    paths: Sequence[Path],
    config: Config,
    out: Path,
    test: Path | None = None,
    listen: Listener = deaf,
    *,
    resume: bool = False,
    force: bool = False,
) -> dict[str, Any]:
    """Distil the contributions in `paths` into `out`; returns the content of `result.json`.

    `test` is labelled data for the final figure alone. Raises UsageError before any work for a file that is not a
    contribution, contributions that do not fit together, and an `out` that is taken.
    """
    if config.models.student:
        trust(config.models.student)  # before contributions of the same architecture are built
    contributions = compatible([Contribution.load(path) for path in paths])
    schema, device = contributions[0].schema, find_device(config.run.device)
    student = trust(config.models.student or default_student(schema))
    check(student, schema)
    held_out = load_test(test, schema, config.data) if test else None
    check_one_exchange(config)
    config = config.with_values({"models.student": student})
    check_distillation(config, schema, [c.architecture for c in contributions])
    inputs = sha256(*(c.to_bytes() for c in contributions))
    claim(out, "distill", inputs, config, [*paths, *([test] if test else [])], resume=resume, force=force)
    torch.set_num_threads(config.run.threads)
    journal = Journal(out, listen)
    distilled = distill(contributions, config, device, journal)
    content = distilled.model.to_bytes()
    write_atomic(out / "global_model.safetensors", content)
    outcome = Outcome(
        distilled.model, [len(c.to_bytes()) for c in contributions], [len(content)] * len(paths), distilled
    )
    result: dict[str, Any] = {
        "method": "mosaic",
        "clients": len(contributions),
        "contributors": [c.client for c in contributions],
        "seed": config.run.seed,
        "models": [c.architecture for c in contributions],
        "student": student,
        "accuracy": None,
        "teacher_accuracy": None,
        "holdout": distilled.holdout,
        "bytes_up": outcome.bytes_up,
        "bytes_down": outcome.bytes_down,
    }
    if held_out is not None:
        result |= figures(outcome, held_out, None, [], device)
    result["seconds"] = journal.seconds()
    journal.write_metrics()
    write_atomic(out / "result.json", json.dumps(result, indent=2) + "\n")
    return result
