"""The readers of what trees and regions send: sequential trees, merged generators, and boosted trees as a model."""

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import fuzz_sealed
import torch
from fuzz_mutation import mutate_bytes
from fuzz_reader import Reader

import mosaic_fl
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.generators.merged import merge
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.server.boosting import boost
from mosaic_fl.server.student import Lesson
from mosaic_fl.training.monitor import Recorder

QUICK = {"train.max_steps": 1, "train.min_steps": 1, "generator.family": "cart"}


def _rows() -> Dataset:
    """Of an age that may be missing, a dose and a place."""
    columns = {
        "age": [None if n % 9 == 0 else 20 + n * n % 61 for n in range(90)],
        "dose": [(n * n % 37) / 3 for n in range(90)],
        "place": [("north", "south", "west")[n % 3] for n in range(90)],
    }
    return mosaic_fl.from_table(columns, ["no", "yes"] * 45)


def _cart_contributions(_folder: Path) -> list[Contribution]:
    rows = _rows()
    halves = [rows.subset(range(k, 90, 2)) for k in range(2)]
    return [mosaic_fl.contribute(half, model="mlp:1:1", client=k, settings=QUICK) for k, half in enumerate(halves)]


def _carts(folder: Path) -> list[bytes]:
    return [made.to_bytes() for made in _cart_contributions(folder)]


def _merged(folder: Path) -> list[bytes]:
    sent = _cart_contributions(folder)
    members = [(c.generator_spec, c.generator, c.class_counts) for c in sent]
    spec, state = merge(members)  # type: ignore[arg-type]
    return [Contribution(**{**vars(sent[0]), "generator_spec": spec, "generator": state}).to_bytes()]


def _boosted(_folder: Path) -> list[bytes]:
    rows = _rows()
    settings = mosaic_fl.config.Config().distill
    lesson = Lesson(rows.samples, rows.labels, torch.zeros(90, 2))
    state, _ = boost("xgboost:2", rows.schema, lesson, settings, Stream(0, "fuzz"), Recorder())
    return [GlobalModel("boosted_trees:2", rows.schema, state).to_bytes()]


def _mutate_boosted(data: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    """Mostly the JSON of the trees is another one, in a file whose hash is right."""
    if rng.random() < 0.2:
        return fuzz_sealed.mutate_file(data, others, rng)
    content, tensors = fuzz_sealed.parts(data)
    kind, _, text = tensors["json"]
    model = json.loads(text)
    tree = rng.choice(model["learner"]["gradient_booster"]["model"]["trees"])
    if rng.random() < 0.5:
        name = rng.choice(sorted(tree))
        tree[name] = _other(tree[name], rng)
        made = json.dumps(model).encode()
    elif rng.random() < 0.7:
        made = fuzz_sealed.mutate_manifest_text(model, rng).encode("utf-8", "replace")
    else:
        made = mutate_bytes(text, (), rng)
    return fuzz_sealed.seal(content, tensors | {"json": (kind, [len(made)], made)})


def _other(value: Any, rng: Random) -> Any:
    """A list of numbers in which one is another; anything else as a list of itself."""
    if not isinstance(value, list) or not value:
        return [value]
    changed = list(value)
    changed[rng.randrange(len(changed))] = rng.choice((0, 1, -1, 2, 2**31, -(2**40), 1e39, "1", None, len(value)))
    return changed if rng.random() < 0.8 else changed[:-1]


def _read_contribution(data: bytes, _folder: Path) -> None:
    """What is accepted draws rows of every class. Networks that the fuzzer claims instead are read alone."""
    made = Contribution.from_bytes(data)
    generator = made.build_generator()
    if generator is not None and made.schema == SCHEMA:
        generator.sample(torch.arange(2), Stream(0, "fuzz").torch())


def _read_model(data: bytes, _folder: Path) -> None:
    """What is accepted answers."""
    model = GlobalModel.from_bytes(data)
    if model.schema == SCHEMA:
        assert bool(model.logits(_rows().samples[:5]).isfinite().all())


SCHEMA = _rows().schema
TREES = {
    "cart": Reader(_carts, fuzz_sealed.mutate_file, _read_contribution),
    "merged": Reader(_merged, fuzz_sealed.mutate_file, _read_contribution),
    "boosted-trees": Reader(_boosted, _mutate_boosted, _read_model),
}
