"""The reader of a run's folder: what `mosaic status` and a resumed run find there."""

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random

import fuzz_sealed
from fuzz_mutation import mutate_text
from fuzz_reader import Reader, parsed, read_any

from mosaic_fl.comparison.merging import merge
from mosaic_fl.comparison.reading import read_comparison
from mosaic_fl.comparison.summary import summarise, to_json
from mosaic_fl.comparison.summary_notes import summary_notes
from mosaic_fl.engines.flower import answer_file
from mosaic_fl.report.comparison_summary import summary_markdown
from mosaic_fl.report.status_lines import plain
from mosaic_fl.report.summary import read_summary, summary_lines
from mosaic_fl.runs.folder import MARKER
from mosaic_fl.watch.reading import read_status
from mosaic_fl.watch.watch import EVENTS, STATUS, Watch

RUN_FILES = (MARKER, STATUS, EVENTS, "result.json", "table.json", "config.toml", "0.answer")


def _run_files(folder: Path) -> list[bytes]:
    with Watch(folder, stream=None) as watch:
        watch.tell("run_started", expected=[0, 1], pid=5, host="h")
        watch.tell("joined", 0, node="n", architecture="mlp:1", samples=3)
        watch.tell("stage_started", stage="fit", expected=[0, 1], limit=60.0)
        watch.tell("left_out", 1, stage="fit", reason="gone")
    answer_file.write(folder / "0.answer", {"run": "r", "request": "d", "client": 0}, b"body")
    marker = {"mosaic_fl": "0", "command": "compare", "inputs": "x", "options": {"seeds": "0,1"}}
    cell = {"clients": 2, "alpha": 0.1, "architectures": "equal", "method": "mosaic", "rounds": 1}
    row = {**cell, "table_rounds": 1, "kind": "method", "caveat": "", "split": "iid"}
    table = {"tables": [row], "cells": [{**cell, "seed": 0, "status": "done", "accuracy": 0.5}]}
    texts = {MARKER: marker, "result.json": {"accuracy": 0.5}, "table.json": table}
    for name, value in texts.items():
        (folder / name).write_text(json.dumps(value))
    (folder / "config.toml").write_text('[data]\nname = "digits"\nmax_train = 9\n[partition]\nsplit = "iid"\n')
    return [bytes([place]) + (folder / name).read_bytes() for place, name in enumerate(RUN_FILES)]


def _mutate_run_file(data: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    body = data[1:]
    value = parsed(body)
    if value is not None and rng.random() < 0.6:
        return data[:1] + fuzz_sealed.mutate_manifest_text(value, rng).encode()
    return data[:1] + mutate_text(body, others, rng)


def _read_run_file(data: bytes, folder: Path) -> None:
    if not (folder / MARKER).exists():
        _run_files(folder)
    name = RUN_FILES[data[0] % len(RUN_FILES)]
    path = folder / name
    good = path.read_bytes()
    try:
        path.write_bytes(data[1:])
        if name == EVENTS:
            (folder / STATUS).rename(folder / "status.kept")
        read_any(
            lambda: _shown_status(folder),
            lambda: summary_lines(read_summary(folder), 0.0),
            lambda: _summed_up(folder),
            lambda: answer_file.read(path),
        )
    finally:
        path.write_bytes(good)
        if name == EVENTS:
            (folder / "status.kept").rename(folder / STATUS)


def _shown_status(folder: Path) -> object:
    status = read_status(folder)
    return None if status is None else (plain(status, 0.0), json.dumps(status.to_json()))


def _summed_up(folder: Path) -> str:
    points, notes = merge([("", read_comparison(folder))])
    summary = summarise(points)
    return summary_markdown(summary, [*notes, *summary_notes(points, summary)]) + to_json(summary, notes)


RUN_FOLDER = {"run-folder": Reader(_run_files, _mutate_run_file, _read_run_file)}
