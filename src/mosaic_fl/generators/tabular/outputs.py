"""What a decoder's outputs say of a row: a distribution for each column, its likelihood, and draws from it."""

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from mosaic_fl.domains.table import Table
from mosaic_fl.generators.picking import pick

COMPONENTS = 4  # Gaussians of a number
FREQUENT = 0.05  # share of a number's values from which on one of them stands for itself
MOST_FREQUENT = 8  # of a number
NOWHERE = 4.0  # stands for no frequent position
STEP = 1 / 64  # half the width of the interval of positions whose probability is counted: a frequent value is no peak
LEAST_SCALE = 1 / 256  # of a component, in positions of −1..1
FARTHEST = 1.1  # mean of a component: a little beyond the positions −1..1
SMALLEST = 1e-7  # probability that has a logarithm


@dataclass(frozen=True)
class Outputs:
    """The outputs for a `table`, float32 (n, `width`): for numbers, truth values, categories, and what is missing.

    Of a number: logits of `COMPONENTS` components, their means, and the logarithms of their scales.
    """

    table: Table

    @cached_property
    def parts(self) -> list[int]:
        """How many outputs there are of numbers, truth values, categories and missing ones."""
        encoding = self.table.encoding
        numbers = 3 * COMPONENTS * len(encoding.numbers)
        return [numbers, len(encoding.booleans), sum(encoding.counts), len(encoding.absent)]

    @property
    def width(self) -> int:
        """The number of outputs for a row."""
        return sum(self.parts)

    @cached_property
    def _order(self) -> tuple[list[int], list[int]]:
        """(columns in the order of the outputs, the place of each among those that may be missing, or −1)."""
        encoding = self.table.encoding
        columns = [*encoding.numbers.tolist(), *encoding.booleans.tolist(), *encoding.codes.tolist()]
        places = {column: place for place, column in enumerate(encoding.absent.tolist())}
        return columns, [places.get(column, -1) for column in columns]

    def log_likelihood(self, outputs: Tensor, inputs: Tensor) -> Tensor:
        """log p (n,) in nats of rows in the form of a network, `inputs` (n, width of the table)."""
        encoding = self.table.encoding
        numbers, booleans, codes, absent = outputs.split(self.parts, 1)
        gone = inputs[:, encoding.absent_at]
        terms = [_log_mass(numbers.view(len(inputs), -1, 3, COMPONENTS), inputs[:, encoding.numbers_at])]
        signs = inputs[:, encoding.booleans_at]
        terms.append(F.logsigmoid(booleans * signs) * (signs != 0))
        starts = encoding.codes_at.tolist()
        for logits, start, count in zip(codes.split(encoding.counts, 1), starts, encoding.counts, strict=True):
            hot = inputs[:, start : start + count]
            terms.append((logits.log_softmax(1) * hot).sum(1, keepdim=True))
        terms[0] = terms[0] * self._there(inputs)
        terms.append(F.logsigmoid(absent * (2 * gone - 1)))
        return torch.cat(terms, 1).sum(1)

    def frequent(self, inputs: Tensor, least: int) -> Tensor:
        """Positions float32 (numbers, `MOST_FREQUENT`) that many rows of `inputs` have, `least` at least.

        `inputs` (n, width of the table) are in the form of a network. The rest of a row is `NOWHERE`.
        """
        encoding = self.table.encoding
        result = torch.full((len(encoding.numbers), MOST_FREQUENT), NOWHERE)
        there = self._there(inputs)
        for number, place in enumerate(encoding.numbers_at.tolist()):
            positions = inputs[there[:, number] > 0, place]
            values, rows = positions.unique(return_counts=True)
            enough = rows >= max(least, FREQUENT * len(positions))
            most = rows[enough].argsort(descending=True, stable=True)[:MOST_FREQUENT]
            result[number, : len(most)] = values[enough][most]
        return result

    def _there(self, inputs: Tensor) -> Tensor:
        """1 where a number is there, 0 where it is missing, float32 (n, numbers)."""
        encoding = self.table.encoding
        _, places = self._order
        gone = inputs[:, encoding.absent_at]
        parts = [1 - gone[:, p] if p >= 0 else torch.ones_like(inputs[:, 0]) for p in places[: len(encoding.numbers)]]
        return torch.stack(parts, 1) if parts else inputs[:, :0]

    def draw(self, outputs: Tensor, u: Tensor, frequent: Tensor) -> Tensor:
        """Rows in the form of a network, float32 (n, width of the table), by uniform numbers `u` (n, columns).

        A number within `STEP` of one of its `frequent` positions, which training does not tell apart, is there.
        """
        encoding = self.table.encoding
        numbers, booleans, codes, absent = outputs.split(self.parts, 1)
        columns, places = self._order
        lacks = absent.sigmoid()
        chance = torch.stack([lacks[:, p] if p >= 0 else torch.zeros_like(u[:, 0]) for p in places], 1)
        levels = (u[:, columns] - chance) / (1 - chance).clamp(min=SMALLEST)
        gone = levels < 0
        levels = levels.clamp(SMALLEST, 1 - SMALLEST)
        rows = torch.zeros(len(u), encoding.width, device=u.device)
        of_numbers, of_booleans, of_codes = levels.split(
            [len(encoding.numbers), booleans.shape[1], len(encoding.codes)], 1
        )
        if numbers.shape[1]:
            positions = _draw_numbers(numbers.view(len(u), -1, 3, COMPONENTS), of_numbers)
            distance, nearest = (positions[:, :, None] - frequent).abs().min(2)
            at = frequent.expand(len(u), -1, -1).gather(2, nearest[:, :, None]).squeeze(2)
            rows[:, encoding.numbers_at] = torch.where(distance <= STEP, at, positions)
        rows[:, encoding.booleans_at] = torch.where(of_booleans < booleans.sigmoid(), 1.0, -1.0)
        starts = encoding.codes_at.tolist()
        for place, (logits, start) in enumerate(zip(codes.split(encoding.counts, 1), starts, strict=True)):
            picked, _ = pick(logits.softmax(1), of_codes[:, place])
            rows.scatter_(1, (start + picked)[:, None], 1.0)
        for rank, place in enumerate(places):
            if place >= 0:
                start = int(encoding.absent_at[place])
                width = self.table.columns[columns[rank]].width
                rows[:, start - width + 1 : start] *= (~gone[:, rank : rank + 1]).float()
                rows[:, start] = gone[:, rank].float()
        return rows


def _log_mass(parameters: Tensor, positions: Tensor) -> Tensor:
    """log P (n, m) of the intervals of `STEP` around `positions` (n, m) under the mixtures (n, m, 3, components).

    The ends −1 and 1 have all that is beyond them, so a column that is often at its end has a distribution
    (Salimans et al. 2017, section 2.1).
    """
    logits, means, scales = _mixture(parameters)
    x = positions[..., None]
    above = (x + STEP - means) / scales
    below = (x - STEP - means) / scales
    inside = (torch.special.ndtr(above) - torch.special.ndtr(below)).clamp(min=SMALLEST).log()
    tails = torch.special.log_ndtr(torch.where(x <= STEP - 1, above, -below))
    chosen = torch.where((x > STEP - 1) & (x < 1 - STEP), inside, tails)
    total: Tensor = torch.logsumexp(logits.log_softmax(-1) + chosen, -1)
    return total


def _draw_numbers(parameters: Tensor, levels: Tensor) -> Tensor:
    """Positions (n, m) in −1..1 of the mixtures (n, m, 3, components) by uniform `levels` (n, m)."""
    logits, means, scales = _mixture(parameters)
    shape = levels.shape
    picked, level = pick(logits.softmax(-1).flatten(0, 1), levels.flatten())
    mean, scale = (tensor.flatten(0, 1).gather(1, picked[:, None]).flatten() for tensor in (means, scales))
    positions: Tensor = mean + scale * torch.special.ndtri(level)
    return positions.view(shape).clamp(-1, 1)


def _mixture(parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, means and scales, each (n, m, components)."""
    logits, means, scales = parameters.unbind(2)
    return logits, FARTHEST * means.tanh(), LEAST_SCALE + F.softplus(scales) / 4
