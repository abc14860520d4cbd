"""The readers of queries, at a site, and of answers and scores, at the server."""

from pathlib import Path

import fuzz_sealed
import torch
from fuzz_reader import Reader

from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.domains.samples import Samples
from mosaic_fl.exchange.query import Answer, Query, answer_from
from mosaic_fl.exchange.site_scores import Gain, GroupRecall, ModelScores, SiteScores
from mosaic_fl.experts.answers.form import answers_of
from mosaic_fl.runs.cross_site import table

SCHEMA = image_schema((1, 4, 4), ("a", "b"))
QUERY = Query(1, 1, SCHEMA, Samples(SCHEMA.fields, {"image": torch.zeros(3, 1, 4, 4, dtype=torch.uint8)}))


def _answers(_folder: Path) -> list[bytes]:
    said = ([[0.5, 0.5]] * 3, [[3.0, -1.0]] * 3, ["a", "b", "b"])
    return [Answer.to(QUERY, answers_of(values, 3, SCHEMA.classes)).to_bytes() for values in said]


def _read_answer(data: bytes, _folder: Path) -> None:
    said = answer_from(QUERY, data, "x").answers.log_probabilities(2)
    assert said.shape == (3, 2)
    assert bool(said.isfinite().all())


def _scores(_folder: Path) -> list[bytes]:
    groups = (GroupRecall((0,), 6, 0.5), GroupRecall((1, 2), 4, 1.0))
    own = ModelScores("own", "", 0.7, groups)
    shared = ModelScores("global", "a" * 64, 0.7, groups, 0.1, 0.9, Gain(0.0, -5.0, 5.0))
    return [SiteScores(1, 3, 10, 4, models).to_bytes() for models in ((own,), (shared, own))]


def _read_scores(data: bytes, _folder: Path) -> None:
    scores = SiteScores.from_bytes(data)
    table({scores.client: scores}, {}, ["a"] * scores.classes)


ANSWERS = {
    "scores": Reader(_scores, fuzz_sealed.mutate_file, _read_scores),
    "query": Reader(lambda _: [QUERY.content], fuzz_sealed.mutate_file, lambda data, _: Query.from_bytes(data)),
    "answer": Reader(_answers, fuzz_sealed.mutate_file, _read_answer),
}
