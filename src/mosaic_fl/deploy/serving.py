"""The run at the server, in the process of Flower's server app: it ends with a result or a failure in its folder."""

import json
import logging
import secrets
import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.config import Config
from mosaic_fl.config.toml import from_toml
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.encoders.bundle import Bundle
from mosaic_fl.encoders.reading import load_test
from mosaic_fl.encoders.statement import encoder_figures
from mosaic_fl.engines.flower.exchange import Exchange
from mosaic_fl.engines.flower.federation import FlowerFederation
from mosaic_fl.engines.flower.hub import Grid
from mosaic_fl.engines.flower.limits import MAX_ANSWER, Limits
from mosaic_fl.engines.flower.roll import Roll
from mosaic_fl.errors import MosaicError, UsageError, in_one_line
from mosaic_fl.exchange.signers import Signers
from mosaic_fl.methods import METHODS
from mosaic_fl.methods.averaging import shared_architecture, validation_accuracy
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.models import default_student, trust, trust_own
from mosaic_fl.notes import print_notes
from mosaic_fl.numerics.devices import find_device
from mosaic_fl.registries import name_generator
from mosaic_fl.runs.audits import stated_audits
from mosaic_fl.runs.benefit import benefit
from mosaic_fl.runs.bundling import as_filed, check_bundle
from mosaic_fl.runs.cross_site import deployed
from mosaic_fl.runs.detail import told_split
from mosaic_fl.runs.ending import conclude
from mosaic_fl.runs.evaluation import figures
from mosaic_fl.runs.generated import write_generated
from mosaic_fl.runs.privacy import asked_privacy
from mosaic_fl.runs.result import Result
from mosaic_fl.runs.teaching import teaching
from mosaic_fl.server.checks import check_student
from mosaic_fl.storage.files import read_bytes, read_text, write_atomic
from mosaic_fl.storage.journal import Journal
from mosaic_fl.watch import Watch, serve_metrics

RUN_VARIABLE = "MOSAIC_RUN"
"""The environment variable that names the run's folder to Flower's server process."""
log = logging.getLogger("mosaic_fl.server")
SETTINGS = "deployment.json"
FAILURE = "failure.json"
IDENTITY = "run-id"


@dataclass(frozen=True)
class Deployment:
    """The settings of a deployed run: its number of `clients`, `limits`, a labelled `test` set for the final figure.

    An answer of more than `max_answer` bytes is refused. `trusted` names the operator's own models that clients may
    use, as module:factory. `signers` is the folder of the public keys by which clients sign.
    """

    clients: int
    limits: Limits
    test: Path | None = None
    json_logs: bool = False
    metrics_port: int | None = None
    max_answer: int = MAX_ANSWER
    trusted: tuple[str, ...] = ()
    signers: Path | None = None

    def save(self, folder: Path) -> None:
        """Write it into the run's folder, as `deployment.json`."""
        limits = asdict(self.limits)
        values = asdict(self) | {
            "min_clients": limits.pop("clients"),
            "limits": limits,
            "test": str(self.test) if self.test else None,
            "signers": str(self.signers) if self.signers else None,
        }
        write_atomic(folder / SETTINGS, json.dumps(values, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "Deployment":
        """Read it from the run's folder; raises UsageError if its file is missing or damaged."""
        try:
            values = json.loads(read_bytes(folder / SETTINGS))
            test = Path(values["test"]) if values["test"] else None
            limits = Limits.of(values["limits"], values["min_clients"])
            logs = bool(values["json_logs"])
            port = values["metrics_port"]
            trusted = tuple(map(str, values["trusted"]))
            signers = Path(values["signers"]) if values.get("signers") else None
            return cls(int(values["clients"]), limits, test, logs, port, int(values["max_answer"]), trusted, signers)
        except (UsageError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise UsageError(f"{folder} is not the folder of a deployed run: use mosaic deploy server") from error


def serve(grid: Grid, folder: Path) -> None:
    """Run the method that `folder` configures over `grid`. Writes `result.json` or `failure.json`, and never raises."""
    try:
        (folder / FAILURE).unlink(missing_ok=True)
        deployment = Deployment.load(folder)
        config = from_toml(folder / "config.toml")
        with Watch(folder, json_logs=deployment.json_logs) as watch:
            try:
                port = deployment.metrics_port  # the command prints the notes of this process
                with (
                    serve_metrics(watch, port) if port else nullcontext(),
                    print_notes(),
                ):  # the command prints such lines
                    watch.tell("run_started", expected=list(range(deployment.clients)))
                    _run(grid, folder, deployment, config, watch)
                    watch.tell("run_finished")
            except Exception as error:
                watch.tell("run_failed", reason=in_one_line(error))
                raise
    except Exception as error:
        if not isinstance(error, MosaicError):
            log.exception("a defect ended the run")
        code = error.exit_code if isinstance(error, MosaicError) else 1
        with suppress(MosaicError):  # a full disk: the command sees the end of this process
            write_atomic(folder / FAILURE, json.dumps({"error": in_one_line(error), "exit_code": code}) + "\n")


def _run(grid: Grid, folder: Path, deployment: Deployment, config: Config, watch: Watch) -> None:
    """Gather the clients, run the method, deliver the global model and write the result; raises MosaicError."""
    device = find_device(config.run.device)
    for spec in deployment.trusted:
        trust_own(spec)
    if config.models.student:
        trust(config.models.student)  # before clients of the same architecture join
    name_generator(config.generator.family)
    journal = Journal(folder, watch.listen)
    run = _identity(folder)
    signers = None if deployment.signers is None else Signers.load(deployment.signers, run)
    roll = Roll(grid, run, deployment.clients, watch.tell, time.monotonic, signers=signers)
    exchange = Exchange(grid, roll, deployment.limits, watch.tell, max_answer=deployment.max_answer)
    federation = FlowerFederation(exchange, config, journal)
    federation.open()
    config = _with_architectures(config, federation)
    check_bundle(config, federation.schema)
    test = load_test(deployment.test, federation.schema, config.data, device) if deployment.test else None
    torch.set_num_threads(config.run.threads)
    outcome = METHODS[config.run.method].run(federation, config, device, journal)
    confusions = dict[int, Tensor]()
    bundle: Bundle = {}
    if outcome.model is not None:
        filed = as_filed(outcome.model, config)
        bundle = filed.bundle
        write_atomic(folder / "global_model.safetensors", filed.to_bytes())
        confusions = federation.deliver(outcome.model)  # sites have the encoder
    metrics = _measure(outcome, test, list(confusions.values()), device)
    metrics |= benefit(metrics, federation.alone, confusions, list(federation.architectures))
    metrics |= deployed(federation.scores, confusions, len(federation.architectures), federation.schema.classes)
    metrics |= encoder_figures(federation.schema, bundle)
    metrics["detail"] = metrics.get("detail", {"classes": list(federation.schema.classes)})
    metrics["detail"] |= teaching(outcome, test, device)
    if outcome.distilled is not None:
        metrics["detail"] |= told_split(outcome.distilled.contributions)
        write_generated(outcome.distilled.contributions, folder, config.run.seed)
    metrics |= asked_privacy(config, len(federation.architectures)) | stated_audits(federation.audits)
    federation.close()
    conclude(_result(config, federation, outcome, metrics, watch), journal)


def _with_architectures(config: Config, federation: FlowerFederation) -> Config:
    """The configuration with the clients' and the student's architectures; raises UsageError if they do not fit."""
    card = METHODS[config.run.method]
    schema = federation.schema
    models = list(federation.architectures)
    student = trust(config.models.student or default_student(schema))
    if card.equal_architectures:
        student = shared_architecture(models, card.title)
    check_student(config, schema, student)
    card.check(config, schema, models, student)
    return config.with_values({"models.clients": models, "models.student": student})


def _result(
    config: Config, federation: FlowerFederation, outcome: Outcome, metrics: Mapping[str, Any], watch: Watch
) -> Result:
    samples = {client: member.samples for client, member in federation.exchange.roll.members.items()}
    return Result(
        "deployment",
        config,
        list(federation.architectures),
        outcome,
        metrics,
        federation.journal.clock.report(),
        data="at the clients",
        samples=[samples.get(client, 0) for client in range(len(federation.architectures))],
        left_out=watch.status.left_out_json(),  # of all starts of the run
    )


def _measure(outcome: Outcome, test: Dataset | None, confusions: list[Tensor], device: torch.device) -> dict[str, Any]:
    if test is not None:
        return figures(outcome, test, None, confusions, device, len(outcome.bytes_up))
    trust = {} if outcome.distilled is None else {"choice": outcome.distilled.choice}
    return {"accuracy": None, "validation_accuracy": validation_accuracy(confusions)} | trust


def _identity(folder: Path) -> str:
    """The unique name of the run. A resumed run has the same name."""
    path = folder / IDENTITY
    if not path.exists():
        write_atomic(path, secrets.token_hex(16) + "\n")
    return read_text(path).strip()
