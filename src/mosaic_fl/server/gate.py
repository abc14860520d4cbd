"""A gate on sources: which client's generator drew a sample, learnt from the generators' samples alone.

The data of all clients together are a mixture: a row comes from client k with probability n_k / Σ n_j. So
p(y|x) = Σ_k p(k|x) · p_k(y|x) holds exactly, where p_k are experts that are right on their own clients' samples. The
gate is p(k|x).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mosaic_fl.config import TrainConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.samples import Samples, from_tensors, to_tensors
from mosaic_fl.domains.schema import Schema
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.experts.kind import Expert
from mosaic_fl.experts.training import train_classifier
from mosaic_fl.models import build, default_student
from mosaic_fl.notes import note
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State, copy_state
from mosaic_fl.server.experts import TINY
from mosaic_fl.server.pool import Pool, Sampler
from mosaic_fl.training.monitor import Monitor

HOLDOUT = 0.1  # share of the samples that chooses the best step of a network
PASSES = 10.0  # over the samples, at most
LEAST = 10  # samples of a source that trees learn
PER_SOURCE = 20  # samples that are drawn at least, on average
STOPPING = 0.1  # share of the samples on which trees see when to stop
# More trees, and leaves of a few samples, learn what only the generators do (docs/notes/tables.md).
TREES = 20  # of each source at most
LEAVES = 8  # of a source's samples, on average: a leaf has at least as many samples as that part of them
SMALLEST = 20  # samples of a leaf, however many sources there are
FIELD = "sample/"  # begins the names of the samples' fields in a state
SOURCES = "sources"


@dataclass(frozen=True)
class Gate:
    """p(k|x) over K experts, those with the `rows` that its `judge` tells apart; the others are never asked.

    `judge` is None where there is a single row.
    """

    judge: Expert | None
    rows: tuple[int, ...]
    experts: int

    def log_shares(self, samples: Samples, device: torch.device | str = "cpu") -> Tensor:
        """log p(k|x), float32 (n, K): −inf for an expert whose client has no generator."""
        shares = torch.full((len(samples), self.experts), -torch.inf)
        if self.judge is None:
            shares[:, list(self.rows)] = 0.0
        else:
            shares[:, list(self.rows)] = self.judge.log_probabilities(samples, device).log_softmax(1)
        return shares


def gated(outputs: Tensor, log_shares: Tensor) -> Tensor:
    """Log-probabilities (n, C) of p(y|x) = Σ_k p(k|x) · p_k(y|x), for expert logits (n, K, C) and log p(k|x) (n, K)."""
    scores = (outputs.log_softmax(2) + log_shares[:, :, None]).logsumexp(1)
    return scores.exp().clamp(min=TINY).log().log_softmax(1)


def gate_state(
    contributions: Sequence[Contribution],
    sampler: Sampler,
    samples: int,
    seed: int,
    device: torch.device,
    monitor: Monitor,
) -> State:
    """What `load_gate` makes a gate of: a network's weights; or the samples themselves, for trees fit in seconds.

    It learns from `samples` of the generators, or `PER_SOURCE` times their number if that is more, from each of as many
    as are its client's share of all data, with the classes that the client has. Raises UsageError where a generator's
    samples are not finite, MosaicError where the loss is not.
    """
    schema = contributions[0].schema
    rows = generator_rows(contributions)
    if len(rows) == 1:
        return {}
    pool = draw_for_gate(sampler, samples, len(rows), seed)
    sources = places_of(contributions, pool.sources)
    if uses_trees(schema):
        return {**to_tensors(pool.samples, FIELD), SOURCES: sources}
    return learn_sources(pool.samples, sources, len(rows), schema, seed, device, monitor)


def draw_for_gate(sampler: Sampler, samples: int, sources: int, seed: int) -> Pool:
    """The samples on which a gate over so many sources learns: see `gate_samples`."""
    return sampler.draw_by_counts(gate_samples(samples, sources), Stream(seed, "gate-samples"))


def places_of(contributions: Sequence[Contribution], clients: Tensor) -> Tensor:
    """The places 0..K−1 of these clients (n,) among those that have a generator."""
    numbers = {contributions[k].client: place for place, k in enumerate(generator_rows(contributions))}
    return torch.tensor([numbers[int(client)] for client in clients])


def learn_sources(
    samples: Samples,
    sources: Tensor,
    count: int,
    schema: Schema,
    seed: int,
    device: torch.device,
    monitor: Monitor,
    stage: str = "gate",
) -> State:
    """The weights of a network that tells from which of `count` sources samples are; `stage` names its streams."""
    named = _source_schema(schema, count)
    data = Dataset(samples, sources, named)
    order = torch.randperm(len(data), generator=Stream(seed, f"{stage}-holdout").torch())
    cut = round(HOLDOUT * len(data))
    with Stream(seed, f"{stage}-init").ambient():
        network = build(default_student(schema), named)
    rest = data.subset(order[cut:])
    held_out = data.subset(order[:cut])
    train_classifier(network, rest, held_out, network_settings(), Stream(seed, stage), device, monitor)
    return copy_state(network)


def uses_trees(schema: Schema) -> bool:
    """Whether trees learn the sources: of rows, unless they are vectors, which have many numbers and none of weight."""
    return schema.of_rows and not schema.of_vectors


def gate_samples(samples: int, sources: int) -> int:
    """How many samples are drawn where `samples` are wished for: a few for each of the sources at least."""
    return max(samples, PER_SOURCE * sources)


def network_settings() -> TrainConfig:
    """The settings by which a network learns sources."""
    return TrainConfig(epochs=PASSES)


def load_gate(state: State, contributions: Sequence[Contribution], seed: int) -> Gate:
    """The gate over the contributions' experts, of a state of `gate_state`."""
    schema = contributions[0].schema
    rows = generator_rows(contributions)
    experts = len(contributions)
    if len(rows) == 1:
        return Gate(None, rows, experts)
    if SOURCES in state:
        trees = SourceTrees(from_tensors(schema.fields, state, FIELD), state[SOURCES], len(rows), seed)
        _note_silent([contributions[rows[place]].client for place in trees.silent], len(rows))
        return Gate(trees, rows, experts)
    return Gate(load_sources(state, len(rows), schema), rows, experts)


def load_sources(state: State, count: int, schema: Schema) -> Expert:
    """The network of `learn_sources` with the weights `state`."""
    with torch.random.fork_rng(devices=[]):
        network = build(default_student(schema), _source_schema(schema, count))
    network.load_state_dict(dict(state))
    return network.eval()


class SourceTrees:
    """Gradient-boosted trees on `samples` of K = `count` sources, numbers 0..K−1: for rows, which have no layout.

    A source with fewer than `LEAST` samples is never asked. The fit is the same each time, so a resumed run fits the
    trees again and no file holds them.
    """

    def __init__(self, samples: Samples, sources: Tensor, count: int, seed: int) -> None:
        from sklearn.ensemble import HistGradientBoostingClassifier
        from threadpoolctl import threadpool_limits

        counts = torch.bincount(sources, minlength=count)
        self.sources = count
        self.known = (counts >= min(LEAST, int(counts.max()))).nonzero().flatten()
        self.trees: HistGradientBoostingClassifier | None = None
        if len(self.known) < 2:
            return
        rows = torch.isin(sources, self.known)
        trees = HistGradientBoostingClassifier(
            early_stopping=_can_split(counts[self.known]),
            validation_fraction=STOPPING,
            max_iter=TREES,
            min_samples_leaf=max(SMALLEST, int(rows.sum()) // (LEAVES * len(self.known))),
            random_state=Stream(seed, "gate").integer() % 2**32,
        )
        with threadpool_limits(1):  # more threads would sum in another order
            self.trees = trees.fit(_inputs(samples[rows]), sources[rows].numpy())

    @property
    def silent(self) -> list[int]:
        """The sources that are never asked."""
        return sorted(set(range(self.sources)) - set(self.known.tolist()))

    def log_probabilities(self, samples: Samples, device: torch.device | str = "cpu") -> Tensor:
        """float32 (n, K) on the CPU."""
        result = torch.full((len(samples), self.sources), TINY)
        if self.trees is None:
            result[:, self.known] = 1.0
        else:
            shares = torch.from_numpy(self.trees.predict_proba(_inputs(samples)))
            result[:, self.known] = shares.float().clamp(min=TINY)
        return result.log()


def _note_silent(clients: Sequence[int], sources: int) -> None:
    if clients:
        note(
            f"the gate never asks the models of {len(clients)} of {sources} clients ({', '.join(map(str, clients))}): "
            f"fewer than {LEAST} of its samples are theirs; a larger distill.gate_samples gives them more"
        )


def _can_split(counts: Tensor) -> bool:
    """Whether a part of `STOPPING` can have a sample of each source, and the rest too."""
    part = math.ceil(STOPPING * int(counts.sum()))
    return int(counts.min()) >= 2 and len(counts) <= part <= int(counts.sum()) - len(counts)


def _inputs(samples: Samples) -> npt.NDArray[np.float32]:
    """The inputs of a network as one array (n, width)."""
    inputs = samples.inputs()
    parts = [inputs] if isinstance(inputs, Tensor) else list(inputs.values())
    rows: npt.NDArray[np.float32] = torch.cat(parts, 1).numpy()
    return rows


def generator_rows(contributions: Sequence[Contribution]) -> tuple[int, ...]:
    """The contributions that have a generator, by their place."""
    return tuple(k for k, contribution in enumerate(contributions) if contribution.generator is not None)


def _source_schema(schema: Schema, sources: int) -> Schema:
    return Schema(schema.fields, tuple(map(str, range(sources))))
