"""Every expert names the samples of every generator: what all judgements of agreement rest on.

The samples are few, from a stream of their own, and each generator draws each class that its client claims. So nothing
else in a distillation depends on whether they were drawn. A circle has 10,000 at most (`MOST_IN_ALL`), however many
clients and classes: where that is too few, each generator draws some of its client's classes alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from mosaic_fl.domains.samples import Samples, concatenate
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.experts.answers.book import AnswerBook
from mosaic_fl.experts.kind import Expert
from mosaic_fl.experts.reading import FieldReader, answers_of, is_asked
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.server.experts import class_priors
from mosaic_fl.server.pool import Sampler

EACH = 20  # samples of a client's class
MOST = 3000  # of all clients, where `EACH` would be more; at least `LEAST` of a class are drawn
LEAST = 4
OF_CLIENT = 60  # samples of each client, however few its classes are
MOST_IN_ALL = 10_000  # samples of a circle: of each of 100 clients a hundred, which are 25 classes
FEW_CLASSES = 3  # up to which an expert has one reading
HALF = 0.5
UNREAD = -1
FLAT = 1e-6  # a spread of log-probabilities, in nats, below which an expert says the same of every sample
LOUD = 1e6  # a spread above which outputs have exploded


@dataclass(frozen=True)
class Survey:
    """n `samples`: `labels` and `sources` (n,), the class asked for and the place of the client that drew each.

    `readings` int64 (n, K, R) are the classes that each of K experts calls a sample, in R readings; −1 where it cannot
    read it, or is not asked. `counts` (K, C) are what clients claim. `faults` says of a place what is wrong with its
    outputs or samples beyond any comparison; `remarks` what could not be looked at. `turned` says of a place and class
    how many of the client's other samples its model calls so with a few numbers of that class (`trigger`).
    """

    labels: Tensor
    sources: Tensor
    readings: Tensor
    counts: Tensor
    faults: dict[int, str]
    remarks: dict[int, str]
    samples: Samples | None = None
    turned: Mapping[tuple[int, int], float] = field(default_factory=dict)

    @cached_property
    def drawn(self) -> Tensor:
        """How many samples there are of each client and class, int64 (K, C)."""
        clients, classes = self.counts.shape
        cells = torch.bincount(self.sources * classes + self.labels, minlength=clients * classes)
        return cells.view(clients, classes)

    @cached_property
    def hits(self) -> Tensor:
        """The share of samples that expert k calls what generator j was asked for, double (K, J, C); NaN: none read."""
        clients, classes = self.counts.shape
        right = (self.readings == self.labels[:, None, None]).any(2).double()
        read = (self.readings[:, :, 0] != UNREAD).double()
        cells = self.sources * classes + self.labels
        empty = torch.zeros(clients * classes, clients, dtype=torch.float64)
        shares = empty.index_add(0, cells, right) / empty.index_add(0, cells, read)
        return shares.T.reshape(clients, clients, classes)


def survey(sampler: Sampler, experts: Sequence[Expert], counts: Tensor, seed: int, device: torch.device) -> Survey:
    """The survey of a `sampler` and the `experts` of its contributions, which claim `counts` (K, C)."""
    faults = dict[int, str]()
    remarks = dict[int, str]()
    samples, labels, sources = _draw(sampler, seed, faults, remarks)
    readings = []
    for k, expert in enumerate(experts):
        outputs = None if samples is None else _ask(k, expert, samples, device, faults, remarks)
        readings.append(_unread(len(labels), counts) if outputs is None else classes_read(outputs, counts[k]))
    return Survey(labels, sources, torch.stack(readings, 1), counts, faults, remarks, samples)


def draws_classes(contribution: Contribution) -> bool:
    """Whether its generator draws samples of classes that it is asked for: of these alone others can be asked.

    What an unconditional generator shows is the word of its client's own model.
    """
    return (
        contribution.generator is not None
        and contribution.generator_spec is not None
        and contribution.generator_spec.conditional
        and bool(contribution.class_counts.any())
    )


def samples_of_a_class(cells: int) -> int:
    """How many samples each of `cells` pairs of client and class gets."""
    return max(LEAST, min(EACH, MOST // max(cells, 1)))


def classes_of_a_client(held: Tensor, each: int) -> int:
    """Of how many classes each client draws at most, where they hold `held` int64 (K,) and a class has `each` samples.

    As many as leave all clients together `MOST_IN_ALL` samples; one at least.
    """
    most = torch.arange(1, max(held.tolist(), default=0) + 1)
    classes = torch.minimum(held[None], most[:, None])
    samples = torch.maximum(classes * each, classes * (OF_CLIENT // classes.clamp(min=1)))
    return max(most[samples.sum(1) <= MOST_IN_ALL].tolist(), default=1)


def _draw(
    sampler: Sampler, seed: int, faults: dict[int, str], remarks: dict[int, str]
) -> tuple[Samples | None, Tensor, Tensor]:
    drawers = [k for k, contribution in enumerate(sampler.contributions) if draws_classes(contribution)]
    cells = (sampler.counts[drawers] > 0).sum(1)
    each = samples_of_a_class(int(cells.sum()))
    most = classes_of_a_client(cells, each)
    parts = list[Samples]()
    labels = list[Tensor]()
    owners = list[Tensor]()
    for k, generator in enumerate(sampler.generators):
        if generator is None:
            remarks[k] = "it has no generator"
            continue
        if not generator.conditional:
            remarks[k] = "its generator takes no class: what its samples show is the word of its own model"
            continue
        rng = Stream(seed, "trust", int(sampler.clients[k])).torch()
        held = sampler.classes_alone(k).nonzero().flatten()
        if not len(held):
            remarks[k] = "its generator draws nothing by itself"
            continue
        if len(held) > most:
            held = held[torch.randperm(len(held), generator=rng)[:most].sort().values]
        asked = held.repeat_interleave(max(each, OF_CLIENT // len(held)))
        try:
            drawn = sampler.draw_alone(k, asked, rng)
        except UsageError as error:
            faults[k] = str(error)
            continue
        parts.append(drawn)
        labels.append(asked)
        owners.append(torch.full((len(asked),), k))
    if not parts:
        return None, torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
    return concatenate(parts), torch.cat(labels), torch.cat(owners)


def _ask(
    k: int, expert: Expert, samples: Samples, device: torch.device, faults: dict[int, str], remarks: dict[int, str]
) -> Tensor | None:
    """The log-probabilities (n, C) of an expert; None where it is not asked, or what it says is no answer."""
    if not is_asked(expert):
        is_box = isinstance(expert, AnswerBook)
        remarks[k] = "its model is a black box, which is not asked for this" if is_box else "it has no model"
        return None
    outputs = outputs_or_fault(expert, samples, device)
    if isinstance(outputs, str):
        faults[k] = outputs
        return None
    told = outputs[~outputs[:, 0].isnan()]
    if len(told) > 1 and float((told - told[:1]).abs().max()) < FLAT:  # honest ones of a single class do so, too
        remarks[k] = "its model says the same of every sample"
    if len(told) and float((told.amax(1) - told.amin(1)).median()) > LOUD:
        faults[k] = "the outputs of its model have exploded"
        return None
    return outputs


def outputs_or_fault(expert: Expert, samples: Samples, device: torch.device) -> Tensor | str:
    """The log-probabilities (n, C) of an expert, NaN where it cannot read a sample; or what is wrong with them.

    Some kinds of experts fail where their outputs are not finite, take too long or too much: that is a fault as well.
    Raises UsageError of a black box that is a function of this process, whose defect its user should see.
    """
    try:
        outputs = answers_of(expert, samples, device)
    except UsageError:
        raise
    except MosaicError as error:
        return f"its model fails: {error}"
    told = outputs[expert.can_read(samples)] if isinstance(expert, FieldReader) else outputs
    return outputs if bool(told.isfinite().all()) else "its model gives outputs that are not finite"


def classes_read(outputs: Tensor, counts: Tensor) -> Tensor:
    """The classes (n, R) that log-probabilities (n, C) of a client with `counts` (C,) may mean.

    A client that saw many of one class is biased to it. Its bias is taken off in one reading, and not in the other:
    an honest expert is right by one of them, and a liar by neither. Of very few classes two readings would be most of
    them, so half of the bias is taken off.
    """
    prior = class_priors(counts[None])[0].log()
    told = outputs.log_softmax(1)
    few = len(counts) <= FEW_CLASSES
    classes = torch.stack([(told - share * prior).argmax(1) for share in ((HALF, HALF) if few else (0.0, 1.0))], 1)
    return classes.masked_fill(outputs[:, :1].isnan(), UNREAD)


def _unread(n: int, counts: Tensor) -> Tensor:
    return torch.full((n, 2), UNREAD)
