"""The readers of queries, at a site, and of answers, at the server."""

from pathlib import Path

import fuzz_sealed
import torch
from fuzz_reader import Reader

from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.domains.samples import Samples
from mosaic_fl.exchange.query import Answer, Query, answer_from
from mosaic_fl.experts.answers.form import answers_of

SCHEMA = image_schema((1, 4, 4), ("a", "b"))
QUERY = Query(1, 1, SCHEMA, Samples(SCHEMA.fields, {"image": torch.zeros(3, 1, 4, 4, dtype=torch.uint8)}))


def _answers(_folder: Path) -> list[bytes]:
    said = ([[0.5, 0.5]] * 3, [[3.0, -1.0]] * 3, ["a", "b", "b"])
    return [Answer.to(QUERY, answers_of(values, 3, SCHEMA.classes)).to_bytes() for values in said]


def _read_answer(data: bytes, _folder: Path) -> None:
    said = answer_from(QUERY, data, "x").answers.log_probabilities(2)
    assert said.shape == (3, 2)
    assert bool(said.isfinite().all())


ANSWERS = {
    "query": Reader(lambda _: [QUERY.content], fuzz_sealed.mutate_file, lambda data, _: Query.from_bytes(data)),
    "answer": Reader(_answers, fuzz_sealed.mutate_file, _read_answer),
}
