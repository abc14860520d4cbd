"""A black box's site: it answers a query by its own model, which may be a function, a file of ours, ONNX or a CSV.

In a run it answers by the model of its name `answers:MODEL`, which the site trains first where it is no function.
"""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mosaic_fl.client.contribute import Site, contribute
from mosaic_fl.config import Config
from mosaic_fl.config.client import BARE
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError, excerpt
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.exchange.model_file import model_file
from mosaic_fl.exchange.query import Answer, Query
from mosaic_fl.experts.answers.form import AUTO, LABELS, LOGITS, Answers, answers_of
from mosaic_fl.experts.answers.function import BlackBox
from mosaic_fl.experts.answers.kind import is_black_box
from mosaic_fl.experts.kind import Expert
from mosaic_fl.experts.naming import kind_of
from mosaic_fl.models import trust
from mosaic_fl.models.own import import_factory, own_model
from mosaic_fl.storage import container
from mosaic_fl.storage.files import read_bytes
from mosaic_fl.training.monitor import Recorder

Model = GlobalModel | Contribution | BlackBox | Callable[[Any], Any]
LABEL = "label"  # the one column of a CSV of hard labels
CELL = 64  # bytes of a number in a CSV, with its comma


def answer(
    query: Query | str | Path,
    model: Model,
    *,
    classes: Sequence[str] | None = None,
    form: str = AUTO,
    device: torch.device | str = "cpu",
) -> Answer:
    """At a black box's site: the answer to a query of the server; `.save(path)` writes its file.

    `query` is one, or its file. `model` is a function as in `BlackBox`, a `BlackBox`, a global model or a contribution.
    `classes` are the names of the classes that a function knows, and `form` is that of its answers. Raises UsageError
    for what is no query, a model that does not fit its samples, and answers that are none: too few, NaN, or no
    probabilities.
    """
    if not isinstance(query, Query):
        query = Query.load(query)
    samples = query.samples
    if isinstance(model, GlobalModel):
        values = model.logits(samples, device)
        return Answer.to(query, _logits(values, samples, query.schema, model.schema))
    if isinstance(model, Contribution):
        _require_fields(query.schema, model.schema)
        values = model.build_expert().log_probabilities(samples, device)
        return Answer.to(query, _logits(values, samples, query.schema, model.schema))
    if not isinstance(model, BlackBox):
        if not callable(model):
            raise UsageError(f"model is {excerpt(model)}, but it should be a function of samples, or a model")
        model = BlackBox(model, classes, form)
    return Answer.to(query, model.answers(samples, query.schema.classes))


def answer_by_name(
    query: Query,
    name: str,
    *,
    classes: Sequence[str] | None,
    form: str,
    device: torch.device,
    key: container.Key = None,
) -> Answer:
    """The answer by a model of this machine: a file (of ours, ONNX, CSV), a run's folder or MODULE:FUNCTION.

    An encrypted file is read by `key`. This may import what the name says: never call it with a name from received
    bytes. Raises UsageError.
    """
    path = Path(name)
    suffix = path.suffix.lower()
    if (classes or form != AUTO) and suffix != ".csv" and path.exists():
        raise UsageError(f"{path} says its classes and form itself: leave out --known and --form")
    if suffix == ".csv":
        return Answer.to(query, _from_csv(path, query, classes, form))
    if suffix == ".onnx":
        values = _onnx(path, query.schema).log_probabilities(query.samples, device)
        return Answer.to(query, answers_of(values, len(query.samples), query.schema.classes, form=LOGITS))
    if path.exists():
        return answer(query, _model_of(path, key), device=device)
    if ":" not in name:
        raise UsageError(
            f"{excerpt(name)} is no file here: --model is a global model, a contribution, an .onnx file, a CSV of "
            "probabilities, or MODULE:FUNCTION"
        )
    function = import_factory(name)
    if not isinstance(function, BlackBox) and not callable(function):
        raise UsageError(f"{name} is {excerpt(function)}, but it should be a function of samples")
    return answer(query, function, classes=classes, form=form)


def hold(site: Site, config: Config, device: torch.device) -> Contribution | None:
    """What the site answers by: its own model, trained here on its own samples; None where it is a function.

    The same in each process, since all randomness comes from the seed. Raises UsageError where the site's model is no
    black box: nobody may query a model whose site has not said so.
    """
    model = own_model(site.architecture)
    if not is_black_box(site.architecture) or model is None:
        raise UsageError(f"client {site.client} has the model {site.architecture!r}, which answers no queries")
    if not isinstance(model, str):
        return None
    place = replace(site, architecture=model)
    return contribute(place, config.with_values(dict(BARE)), device, lambda stage: Recorder(stage, site.client))


def answer_at(site: Site, query: Query, held: Contribution | None, device: torch.device) -> Answer:
    """The site's answer to a query, by its model `held`, or by its function; raises UsageError."""
    if query.client != site.client:
        raise UsageError(f"the query is for client {query.client}, and this is client {site.client}")
    if query.schema != site.data.schema:
        raise UsageError(f"the query has {query.schema.difference(site.data.schema)} as this site's data")
    return answer(query, own_model(site.architecture) if held is None else held, device=device)


def _model_of(path: Path, key: container.Key) -> GlobalModel | Contribution:
    if path.is_dir():
        return GlobalModel.load(model_file(path))
    try:
        return GlobalModel.load(path)
    except UsageError as no_model:
        try:
            return Contribution.load(path, key)
        except UsageError as no_contribution:
            error = no_contribution if "contribution" in str(no_model) else no_model
            raise error from no_contribution


def _onnx(path: Path, schema: Schema) -> Expert:
    name = trust(path)
    expert: Expert = kind_of(name).make(name, schema)
    return expert


def _logits(values: torch.Tensor, samples: Samples, wanted: Schema, own: Schema) -> Answers:
    return answers_of(values, len(samples), wanted.classes, own.classes, LOGITS)


def _require_fields(wanted: Schema, own: Schema) -> None:
    if wanted.fields != own.fields:
        raise UsageError(f"the model has {own.difference(wanted)} as the query's samples")


def _from_csv(path: Path, query: Query, classes: Sequence[str] | None, form: str) -> Answers:
    """A table with a header: a column for each class that the model knows, by name, or the one column `label`."""
    names = query.schema.classes
    rows = len(query.samples)
    most = 2**16 + (1 + rows) * (CELL * len(names) + max(map(len, names)) * 4)
    try:
        text = read_bytes(path, most).decode("utf-8-sig")
        lines = [line for line in csv.reader(io.StringIO(text)) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: this is no CSV: {error}") from error
    if not lines:
        raise UsageError(f"{path}: it is empty")
    header = [name.strip() for name in lines[0]]
    body = lines[1:]
    ragged = next((number for number, line in enumerate(body) if len(line) != len(header)), None)
    if ragged is not None:
        raise UsageError(f"{path}: row {ragged + 2} has {len(body[ragged])} columns, its header {len(header)}")
    try:
        if header == [LABEL]:
            return answers_of([line[0].strip() for line in body], rows, names, classes, LABELS)
        values = [[_number(cell, number) for cell in line] for number, line in enumerate(body)]
        return answers_of(values, rows, names, header if classes is None else classes, form)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def _number(cell: str, row: int) -> float:
    try:
        return float(cell)
    except ValueError:
        raise UsageError(f"row {row + 2} has {excerpt(cell)}, which is no number") from None
