"""`mosaic query` and `mosaic answer`: a site keeps its model, and answers what the server asks."""

from pathlib import Path
from typing import Annotated

import typer

from mosaic_fl.cli.custody import LimitsFile, answering, release_answer
from mosaic_fl.cli.keys import KeyFile, RunId, Sign, key_in, seal_of
from mosaic_fl.cli.options import Force, words
from mosaic_fl.cli.output import results
from mosaic_fl.cli.places import require_free
from mosaic_fl.errors import UsageError
from mosaic_fl.runs.folder import QUERIES
from mosaic_fl.storage.files import require_file

AnswerLog = Annotated[
    Path | None, typer.Option("--log", metavar="FILE", help="of all that leaves; --limits counts by it")
]
FORMS = ("auto", "probabilities", "logits", "labels")


def query(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="folder of a mosaic distill that waits for answers")],
    *,
    client: Annotated[int | None, typer.Option(min=0, help="of this client alone")] = None,
    out: Annotated[Path | None, typer.Option(help="folder to write their files to, for the sites")] = None,
    force: Force = False,
) -> None:
    """At the server: what black boxes are asked and have not answered; one file each, for their sites."""
    paths = sorted((run / QUERIES).glob("*.query")) if run.is_dir() else []
    if not paths:
        raise UsageError(f"{run} has no queries: mosaic distill writes them where a contribution is a black box")
    from mosaic_fl.exchange.query import Query
    from mosaic_fl.runs.answer_files import AnswerFiles
    from mosaic_fl.storage.files import write_atomic

    files = AnswerFiles(run, Query.load(paths[0]).schema)
    files.receive()
    waiting = [entry for entry in files.open_queries() if client in (None, entry.client)]
    if not waiting:
        results({"run": run, "queries": []})
        print(f"{run}: nothing waits for an answer{'' if client is None else f' of client {client}'}")
        return
    places = {entry.digest: out / files.place(entry).name if out else files.place(entry) for entry in waiting}
    if out:
        for place in places.values():
            require_free(place, force)
    for entry in waiting if out else ():
        write_atomic(places[entry.digest], entry.content)
    told_queries = [
        {"file": places[entry.digest], "client": entry.client, "round": entry.round}
        | {"samples": len(entry.samples), "bytes": len(entry.content)}
        for entry in waiting
    ]
    results({"run": run, "queries": told_queries})
    for entry in waiting:
        size = f"{len(entry.samples):,} samples, {len(entry.content):,} bytes"
        print(f"{places[entry.digest]}: client {entry.client}, round {entry.round}, {size}")


def answer(
    query: Annotated[Path, typer.Argument(metavar="QUERY", help="the server's file with samples")],
    *,
    model: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="MODULE:FUNCTION, FILE.onnx, a global model, a contribution, or a CSV of probabilities or labels",
        ),
    ],
    out: Annotated[Path, typer.Option(help="the file to write, for the server")],
    form: Annotated[str, typer.Option(help="auto, probabilities, logits or labels")] = "auto",
    known: Annotated[
        str | None, typer.Option(metavar="NAME,…", help="the classes that it knows, in its order [all]")
    ] = None,
    key: KeyFile = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda")] = "auto",
    sign: Sign = None,
    run_id: RunId = None,
    limits: LimitsFile = None,
    log: AnswerLog = None,
    force: Force = False,
) -> None:
    """At a site: answer a query of the server with a model that stays here."""
    if form not in FORMS:
        raise UsageError(f"--form {form!r}: it is {', '.join(FORMS)}")
    if run_id is not None and sign is None:
        raise UsageError("--run-id is for --sign FILE: give that, too")
    seal = seal_of(None, sign, run_id)
    classes = words("known", known) if known is not None else None
    require_file(query)
    path = Path(model)
    require_free(out, force, query, *([path] if path.exists() else []))
    custody, holder = answering(limits, log, model, query, out)
    from mosaic_fl.client.answering import answer_by_name
    from mosaic_fl.engines.workers import one_thread
    from mosaic_fl.exchange.query import Query
    from mosaic_fl.numerics.devices import find_device
    from mosaic_fl.storage.files import write_atomic

    place = find_device(device)
    asked = Query.load(query)
    with one_thread():
        made = answer_by_name(asked, model, classes=classes, form=form, device=place, key=key_in(key))
    content = seal.close(made.to_bytes(), made.client)
    release_answer(custody, holder, content, len(asked.samples), limits)
    write_atomic(out, content)
    results(
        {"file": out, "bytes": len(content), "client": made.client, "form": made.answers.form}
        | {"samples": len(asked.samples), "classes": made.classes}
    )
    told = f"{made.answers.form} of {len(asked.samples):,} samples · {len(made.classes)} classes"
    print(f"{out}: {len(content):,} bytes · {told}{seal.words}")
