"""The file exchange at the server: contribution files are distilled into a folder with the global model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from mosaic_fl.config import Config
from mosaic_fl.config.checks import check_one_exchange
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.samples import to_tensors
from mosaic_fl.domains.schema import Schema
from mosaic_fl.encoders.reading import load_test
from mosaic_fl.encoders.statement import encoder_figures
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.exchange.seal import Seal
from mosaic_fl.exchange.signers import Signers
from mosaic_fl.experts.answers.book import UnansweredError
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.models import trust
from mosaic_fl.notes import note
from mosaic_fl.numerics.devices import find_device
from mosaic_fl.registries import name_generator
from mosaic_fl.runs.answer_files import AnswerFiles
from mosaic_fl.runs.audits import contributed_audits
from mosaic_fl.runs.benefit import taking_part
from mosaic_fl.runs.bundling import as_filed, check_bundle
from mosaic_fl.runs.detail import told_split
from mosaic_fl.runs.ending import conclude, earlier_result
from mosaic_fl.runs.evaluation import figures
from mosaic_fl.runs.generated import write_generated
from mosaic_fl.runs.privacy import contributed_privacy
from mosaic_fl.runs.received import read_contributions
from mosaic_fl.runs.result import Result, final_result
from mosaic_fl.runs.sources import write_sources
from mosaic_fl.runs.teaching import teaching
from mosaic_fl.server.agreement import compatible
from mosaic_fl.server.black_boxes import questions, settle
from mosaic_fl.server.checks import check_distillation, check_student
from mosaic_fl.server.distill import Distilled, distill
from mosaic_fl.server.feature_space import feature_space
from mosaic_fl.server.private import require_private
from mosaic_fl.server.region import as_contribution
from mosaic_fl.server.students import suited_student
from mosaic_fl.server.trust.credit import credited
from mosaic_fl.server.trust.report import TrustReport
from mosaic_fl.storage.files import sha256, sha256_of_each, write_atomic
from mosaic_fl.storage.journal import Journal, Stage
from mosaic_fl.storage.keys import PrivateKey
from mosaic_fl.storage.stopwatch import Stopwatch
from mosaic_fl.training.monitor import Listener, deaf


@dataclass(frozen=True)
class Distillation:
    """All that a distillation needs, after its checks; `inputs` is the hash of the contributions, `sizes` their bytes.

    `files` are those of the contributions, by client; `test_file` is where `test` comes from. With `signers` answers of
    black boxes must be signed, too.
    """

    contributions: list[Contribution]
    config: Config
    device: torch.device
    student: str
    test: Dataset | None
    files: Mapping[int, Path]
    test_file: Path | None
    inputs: str
    sizes: tuple[int, ...]
    signers: Signers | None = None

    @property
    def sources(self) -> list[Path]:
        """All files that it reads."""
        return [*self.files.values(), *([self.test_file] if self.test_file else [])]

    @property
    def schema(self) -> Schema:
        """The schema of all clients' samples."""
        return self.contributions[0].schema


def prepare_distillation(
    paths: Sequence[Path],
    config: Config,
    test: Path | None = None,
    key: PrivateKey | None = None,
    signers: Signers | None = None,
    *,
    again: bool = False,
) -> Distillation:
    """Read and check the contributions in `paths`, and labelled `test` data for the final figure alone.

    Encrypted contributions are read by `key`, and with `signers` each must be signed; `again` is for files that were
    read before. Raises UsageError for a file that is not a contribution, for contributions that do not fit together,
    and for settings that need another exchange with the clients.
    """
    if config.models.student:
        trust(config.models.student)  # before contributions of the same architecture are built
    name_generator(config.generator.family)
    received = read_contributions(paths, key, signers, again=again)
    contributions = compatible(received)
    require_private(contributions, config)
    feature_space(contributions, config.moments.encoder)  # whether their encoder is here is told before any work
    schema = contributions[0].schema
    device = find_device(config.run.device)
    student = trust(config.models.student or suited_student(contributions))
    check_student(config, schema, student)
    check_bundle(config, schema)
    test_data = load_test(test, schema, config.data, device) if test else None
    check_one_exchange(config)
    config = settle(contributions, config.with_values({"models.student": student}))
    check_distillation(config, schema, [c.architecture for c in contributions])
    sizes = list[int]()

    def contents() -> Iterator[bytes]:
        for contribution in contributions:
            yield (content := contribution.to_bytes())
            sizes.append(len(content))

    inputs = sha256_of_each(contents())
    files = {contribution.client: path for contribution, path in zip(received, paths, strict=True)}
    return Distillation(contributions, config, device, student, test_data, files, test, inputs, tuple(sizes), signers)


def write_regional(distillation: Distillation, out: Path, place: Path, client: int, seal: Seal) -> tuple[int, int]:
    """Write the contribution of `client` that stands for all that count in the distillation in `out`.

    Returns (its bytes, how many it stands for). `sources.json` names it, since it holds what these hold.
    """
    model = GlobalModel.load(out)
    counted = _counted(distillation, out)
    content = seal.close(as_contribution(model, counted, client).to_bytes(), client)
    write_atomic(place, content)
    write_sources(out, distillation.files, distillation.test_file, place)
    return len(content), len(counted)


def _counted(distillation: Distillation, out: Path) -> list[Contribution]:
    """The contributions that count in the result in `out`, as they count."""
    result = final_result(out) or {}
    report = (result.get("choice") or {}).get("trust")
    if report is None:
        return distillation.contributions
    return credited(distillation.contributions, TrustReport.from_json(report))


def _with_answers(distillation: Distillation, journal: Journal, answers: Sequence[Path]) -> Distilled:
    """`distill`, with black boxes by what they have answered; raises WaitingError where they are to be asked more."""
    contributions = distillation.contributions
    boxes = [c.client for c in contributions if c.is_black_box]
    if not boxes:
        if answers:
            note(f"no contribution is a black box: nobody is asked, and {answers[0]} is not read")
        return distill(contributions, distillation.config, distillation.device, journal)
    assert journal.folder is not None
    files = AnswerFiles(journal.folder, distillation.schema, distillation.signers)
    files.receive(answers)
    books = files.books(boxes)
    try:
        return distill(contributions, distillation.config, distillation.device, journal, boxes=books)
    except UnansweredError as error:
        missing = error.missing | questions(contributions, books, distillation.config, distillation.device)
        raise files.ask(missing) from error


def _hash(test: Dataset) -> str:
    samples = test.samples
    tensors = to_tensors(samples, "").values() if test.schema.joins else samples.values.values()
    return sha256(*(tensor.numpy().tobytes() for tensor in (*tensors, test.labels)))


def run_distillation(
    distillation: Distillation,
    out: Path,
    listen: Listener = deaf,
    *,
    keep_stages: bool = False,
    stopwatch: Stopwatch | None = None,
    answers: Sequence[Path] = (),
    earlier_stages: Mapping[str, Stage] = MappingProxyType({}),
) -> dict[str, Any]:
    """Distil into the folder `out`, which this process has claimed; returns the content of `result.json`.

    `sources.json` says which contributions these are. The curves of `earlier_stages`, those of clients, stay. Where
    `out` has the result of this distillation, nothing is done again. Stages are deleted at the end, unless
    `keep_stages`. With stages, other test data are measured without a new distillation. `answers` are files of black
    boxes. Raises WaitingError where one of these has to be asked: its query is in the folder, and the stages are kept.
    """
    stopwatch = stopwatch or Stopwatch()
    contributions = distillation.contributions
    config = distillation.config
    device = distillation.device
    test = distillation.test
    test_hash = _hash(test) if test else None
    write_sources(out, distillation.files, distillation.test_file)
    if (earlier := earlier_result(out, keep_stages=keep_stages, tested_on=test_hash)) is not None:
        if answers:
            note(f"{answers[0]} comes too late: {out} has its result; --force begins anew, and asks again")
        return earlier
    torch.set_num_threads(config.run.threads)
    journal = Journal(out, listen, stopwatch)
    journal.done |= earlier_stages
    if final_result(out) is not None and journal.recall("student") is None:
        differs = "not on these test data" if test is not None else "with test data"
        note(
            f"{out} has its result, but {differs}, and its stages are gone: it is distilled again; --keep-stages "
            "leaves them for another --test"
        )
    distilled = _with_answers(distillation, journal, answers)
    filed = as_filed(distilled.model, config)
    content = filed.to_bytes()
    write_atomic(out / "global_model.safetensors", content)
    outcome = Outcome(distilled.model, list(distillation.sizes), [len(content)] * len(contributions), distilled)
    scores: dict[str, Any] = {"accuracy": None, "teacher_accuracy": None, "holdout": distilled.holdout}
    scores["choice"] = distilled.choice
    if test is not None:
        with stopwatch.stage("measure"):
            scores = figures(outcome, test, None, [], device)
        scores["taking_part"] = taking_part(scores)
    with stopwatch.stage("measure"):
        scores["detail"] = {
            "classes": list(distillation.schema.classes),
            **scores.get("detail", {}),
            **teaching(outcome, test, device),
            **told_split(contributions),
        }
        write_generated(distilled.contributions, out, config.run.seed)
    scores |= encoder_figures(distillation.schema, filed.bundle) | contributed_privacy(contributions)
    scores |= contributed_audits(contributions)
    result = Result(
        "files",
        config,
        [c.architecture for c in contributions],
        outcome,
        scores,
        journal.clock.report(),
        contributors=[c.client for c in contributions],
        tested_on=test_hash,
    )
    return conclude(result, journal, keep_stages=keep_stages)
