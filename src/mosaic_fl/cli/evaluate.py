"""`mosaic evaluate`: score models at a site on its own data; `mosaic collect`: the scores of all sites as one table."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from mosaic_fl.cli.custody import LimitsFile, LogFile, custody_of_figures, with_file
from mosaic_fl.cli.files import Trust, trust_models
from mosaic_fl.cli.keys import EncryptFor, KeyFile, RunId, Sign, SignersFolder, key_in, seal_of, signers_of
from mosaic_fl.cli.options import Device, Force, Seed, Settings, configure
from mosaic_fl.cli.output import results
from mosaic_fl.cli.places import require_free
from mosaic_fl.cli.reading import reads_images
from mosaic_fl.data.places import existing
from mosaic_fl.errors import RefusalError, UsageError
from mosaic_fl.exchange.model_file import model_file
from mosaic_fl.storage.header import require_ours

if TYPE_CHECKING:
    from mosaic_fl.client.contribute import Site
    from mosaic_fl.client.custody import Custody
    from mosaic_fl.exchange.contribution import Contribution
    from mosaic_fl.exchange.site_scores import SiteScores


@reads_images()
def evaluate(
    models: Annotated[
        list[Path], typer.Argument(metavar="MODEL...", help="global models or runs, and this site's contribution")
    ],
    *,
    data: Annotated[Path, typer.Option(help="this site's labelled data")],
    reading: dict[str, Any],
    held_back: Annotated[
        bool, typer.Option("--held-back", help="of --data what the contribution held back, by its --seed")
    ] = False,
    client: Annotated[int | None, typer.Option(min=0, max=9999, help="this site's number, for --out")] = None,
    least: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="samples behind each figure [limits.min_cluster, 5]")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="write the scores, for mosaic collect at the server")] = None,
    sign: Sign = None,
    run_id: RunId = None,
    encrypt_for: EncryptFor = None,
    key: KeyFile = None,
    trusted: Trust = None,
    seed: Seed = None,
    device: Device = None,
    settings: Settings = None,
    limits: LimitsFile = None,
    log: LogFile = None,
    force: Force = False,
) -> None:
    """At a site: how good the global model and its own are on its own data, and whether it gains."""
    config = configure(None, {"run.method": "mosaic", "run.seed": seed, "run.device": device, **reading}, settings)
    existing(data)
    of_file = {"--sign": sign, "--encrypt-for": encrypt_for, "--log": log, "--limits": limits}
    if out is not None:
        require_free(out, force, data, *models)
    elif idle := next((option for option, value in of_file.items() if value), None):
        raise UsageError(f"{idle} is for the file of --out: give that, too")
    if run_id is not None and sign is None:
        raise UsageError("--run-id is for --sign FILE: give that, too")
    for path in models:
        require_ours(model_file(path))
    seal = seal_of(encrypt_for, sign, run_id)
    private_key = key_in(key)
    trust_models(trusted)
    from mosaic_fl.client.contribute import Site
    from mosaic_fl.client.custody import Custody
    from mosaic_fl.client.evaluation import admit, own_in, read_candidates, read_samples, tell_trained
    from mosaic_fl.client.evaluation import held_back as kept
    from mosaic_fl.client.scoring import gain_line, score
    from mosaic_fl.engines.workers import one_thread
    from mosaic_fl.numerics.devices import find_device
    from mosaic_fl.report.heartbeat import waiting

    candidates = read_candidates(models, private_key)
    own = own_in(candidates)
    number = _number(client, own, needed=out is not None or held_back)
    custody = None if out is None else custody_of_figures(limits, log, data, out, private=False)
    place = find_device(config.run.device)
    with waiting(Console(stderr=True), f"reading {data}"):
        samples = read_samples(data, candidates, config, place)
    site = Site(number, samples, own.architecture if own is not None else "")
    wish = (custody or Custody()).least if least is None else least
    if custody is not None:
        with _refusals_of(limits):
            admit(custody, site, config, place, wish)
    if held_back:
        samples = kept(samples, site.client, own, config)
    else:
        tell_trained(samples, own, config)
    with waiting(Console(stderr=True), f"scoring on {len(samples):,} samples"), one_thread():
        scores = score(site.client, samples, [one.judged() for one in candidates], wish, place)
    content = seal.close(scores.to_bytes(), site.client)
    if custody is not None and out is not None:
        with _refusals_of(limits):
            _send(content, out, custody, site)
    gain = gain_line(scores)
    results({"file": out, "classes": samples.schema.classes, "scores": scores.to_json(), "gain": gain or None})
    _print(scores, samples.schema.classes, gain)
    if out is not None:
        print(f"{out}: {len(content):,} bytes · scores of client {site.client}, no sample{seal.words}")


def _number(client: int | None, own: "Contribution | None", *, needed: bool) -> int:
    """The number of this site, 0 where nobody asks for it; raises UsageError."""
    if own is not None and client not in (None, own.client):
        raise UsageError(f"--client {client}: the contribution is of client {own.client}")
    if own is None and client is None and needed:
        raise UsageError("which site is this? Give --client N, as at mosaic contribute")
    return own.client if own is not None else client or 0


@contextmanager
def _refusals_of(limits: Path | None) -> Iterator[None]:
    """A refusal within the block names the file of limits."""
    try:
        yield
    except RefusalError as error:
        raise with_file(error, limits) from error


def _send(content: bytes, out: Path, custody: "Custody", site: "Site") -> None:
    """Write the file, when the log has its line; raises RefusalError where a budget does not allow it."""
    from mosaic_fl.client.custody import JUDGEMENT
    from mosaic_fl.storage.files import write_atomic

    custody.release(site, JUDGEMENT, content, None, fields=["scores"])
    write_atomic(out, content)


def _print(scores: "SiteScores", classes: Sequence[str], gain: str) -> None:
    from mosaic_fl.report.cross_site import recall_table, score_table, withheld_line

    models = scores.to_json()["models"]
    console = Console(file=sys.stdout)
    console.print(score_table(models, scores.samples))
    console.print(recall_table(models, classes))
    lines = (withheld_line(models, classes, scores.least), gain)
    print(*(line for line in lines if line), sep="\n")


def collect(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="what mosaic evaluate --out wrote at sites")],
    *,
    run: Annotated[
        Path | None, typer.Option(metavar="RUN", help="the run of the global model: its result and page get the table")
    ] = None,
    signers: SignersFolder = None,
    run_id: RunId = None,
    key: KeyFile = None,
) -> None:
    """At the server: the scores of all sites as one table of models by sites."""
    for file in files:
        require_ours(file)
    if run_id is not None and signers is None:
        raise UsageError("--run-id is for --signers FOLDER: give that, too")
    known = signers_of(signers, run_id)
    private_key = key_in(key)
    from mosaic_fl.report.cross_site import cross_site_lines, cross_site_table
    from mosaic_fl.runs.score_files import collected, into_run, read_scores

    sites = read_scores(files, private_key, known)
    entry = collected(sites)
    if run is not None:
        entry = into_run(run, sites)
    results({"run": run, "cross_site": entry})
    console = Console(file=sys.stdout)
    console.print(cross_site_table(entry))
    for line in cross_site_lines(entry):
        print(line)
    if run is not None:
        from mosaic_fl.report.page.page import write_page

        print(f"Results: {write_page(run)}, result.json")
