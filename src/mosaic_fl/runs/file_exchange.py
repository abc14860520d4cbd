"""From contribution files to a folder with the global model: the server's side of the file exchange."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mosaic_fl.config import Config
from mosaic_fl.config.checks import check_one_exchange
from mosaic_fl.data.sources import load_test
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.schema import Schema
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.models import check, default_student, trust
from mosaic_fl.notes import note
from mosaic_fl.numerics.devices import find_device
from mosaic_fl.registries import name_generator
from mosaic_fl.runs.benefit import taking_part
from mosaic_fl.runs.ending import conclude, ended_before
from mosaic_fl.runs.evaluation import figures
from mosaic_fl.runs.result import Result, finished
from mosaic_fl.server.checks import check_distillation
from mosaic_fl.server.distill import compatible, distill
from mosaic_fl.storage.files import sha256, write_atomic
from mosaic_fl.storage.journal import Journal
from mosaic_fl.storage.stopwatch import Stopwatch
from mosaic_fl.training.monitor import Listener, deaf


@dataclass(frozen=True)
class Distillation:
    """All that a distillation needs, checked before any work; `inputs` is the hash of the contributions."""

    contributions: list[Contribution]
    config: Config
    device: torch.device
    student: str
    test: Dataset | None
    sources: list[Path]
    inputs: str

    @property
    def schema(self) -> Schema:
        """What all clients' samples are."""
        return self.contributions[0].schema


def prepare_distillation(paths: Sequence[Path], config: Config, test: Path | None = None) -> Distillation:
    """Read and check the contributions in `paths`, and labelled `test` data for the final figure alone.

    Raises UsageError for a file that is not a contribution, contributions that do not fit together, and settings that
    ask clients again.
    """
    if config.models.student:
        trust(config.models.student)  # before contributions of the same architecture are built
    name_generator(config.generator.family)
    contributions = compatible([Contribution.load(path) for path in paths])
    schema = contributions[0].schema
    device = find_device(config.run.device)
    student = trust(config.models.student or default_student(schema))
    check(student, schema)
    held_out = load_test(test, schema, config.data) if test else None
    check_one_exchange(config)
    config = config.with_values({"models.student": student})
    check_distillation(config, schema, [c.architecture for c in contributions])
    inputs = sha256(*(c.to_bytes() for c in contributions))
    return Distillation(contributions, config, device, student, held_out, [*paths, *([test] if test else [])], inputs)


def distill_prepared(
    prepared: Distillation,
    out: Path,
    listen: Listener = deaf,
    *,
    keep_stages: bool = False,
    stopwatch: Stopwatch | None = None,
) -> dict[str, Any]:
    """Distil into `out`, which is claimed; returns the content of `result.json`.

    Where `out` has the result of this distillation, nothing is done again. With it, the stages are deleted, unless
    `keep_stages`; other test data are measured on what the stages give, and without them it is distilled again.
    """
    stopwatch = stopwatch or Stopwatch()
    contributions = prepared.contributions
    config = prepared.config
    device = prepared.device
    held_out = prepared.test
    tested_on = sha256(held_out.images.numpy().tobytes(), held_out.labels.numpy().tobytes()) if held_out else None
    if (ended := ended_before(out, keep_stages=keep_stages, tested_on=tested_on)) is not None:
        return ended
    torch.set_num_threads(config.run.threads)
    journal = Journal(out, listen, stopwatch)
    if finished(out) is not None and journal.recall("student") is None:
        differs = "not on these test data" if held_out is not None else "with test data"
        note(
            f"{out} has its result, but {differs}, and its stages are gone: it is distilled again; --keep-stages "
            "leaves them for another --test"
        )
    distilled = distill(contributions, config, device, journal)
    content = distilled.model.to_bytes()
    write_atomic(out / "global_model.safetensors", content)
    outcome = Outcome(
        distilled.model, [len(c.to_bytes()) for c in contributions], [len(content)] * len(contributions), distilled
    )
    measured: dict[str, Any] = {"accuracy": None, "teacher_accuracy": None, "holdout": distilled.holdout}
    if held_out is not None:
        with stopwatch.stage("measure"):
            measured = figures(outcome, held_out, None, [], device)
        measured["taking_part"] = taking_part(measured)
    result = Result(
        "files",
        config,
        [c.architecture for c in contributions],
        outcome,
        measured,
        journal.clock.report(),
        contributors=[c.client for c in contributions],
        tested_on=tested_on,
    )
    return conclude(result, journal, keep_stages=keep_stages)
