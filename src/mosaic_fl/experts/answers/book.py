"""The answers that a black box has given so far, by sample: what is not in the book has to be asked."""

import hashlib
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from mosaic_fl.domains.samples import Samples
from mosaic_fl.errors import WaitingError

DIGEST = 16  # bytes of a sample's key


class UnansweredError(WaitingError):
    """Samples that black boxes have not answered yet, by client."""

    def __init__(self, missing: Mapping[int, Samples]) -> None:
        counts = ", ".join(f"{len(samples):,} of client {client}" for client, samples in missing.items())
        super().__init__(f"samples wait for answers: {counts}")
        self.missing = dict(missing)


def keys_of(samples: Samples) -> list[bytes]:
    """A key for each sample, of its content alone."""
    if not len(samples):
        return []
    tensors = {name: tensor.to("cpu").contiguous() for name, tensor in samples.values.items()}
    rows = {name: tensor.reshape(len(tensor), -1).view(torch.uint8).numpy() for name, tensor in sorted(tensors.items())}
    absent = {name: (~present).tolist() for name, present in samples.present.items()}
    keys = list[bytes]()
    for number in range(len(samples)):
        digest = hashlib.blake2b(digest_size=DIGEST)
        for name, values in rows.items():  # what a row holds of a field that it lacks has no meaning
            digest.update(name.encode() if name in absent and absent[name][number] else values[number].data)
        keys.append(digest.digest())
    return keys


class AnswerBook:
    """The expert of a black box by what it answered: log-probabilities of samples that were asked before."""

    def __init__(self, client: int, classes: int) -> None:
        self.client = client
        self.rows = torch.zeros(0, classes)
        self.places = dict[bytes, int]()

    def add(self, samples: Samples, log_probabilities: Tensor) -> None:
        """Remember the answers (n, C) to n samples."""
        start = len(self.rows)
        self.rows = torch.cat([self.rows, log_probabilities])
        for number, key in enumerate(keys_of(samples)):
            self.places.setdefault(key, start + number)

    def missing(self, samples: Samples) -> Samples:
        """Those of the samples that are not in the book, each once."""
        fresh = dict[bytes, int]()
        for number, key in enumerate(keys_of(samples)):
            if key not in self.places:
                fresh.setdefault(key, number)
        return samples[torch.tensor(list(fresh.values()), dtype=torch.int64)]

    def log_probabilities(self, samples: Samples, device: torch.device | str = "cpu") -> Tensor:
        """float32 (n, C) on the CPU; raises UnansweredError for samples that are not in the book."""
        places = [self.places.get(key) for key in keys_of(samples)]
        if None in places:
            raise UnansweredError({self.client: self.missing(samples)})
        return self.rows[torch.tensor(places, dtype=torch.int64)]


def require_answers(experts: Iterable[object], samples: Samples) -> None:
    """Raise UnansweredError for all black boxes at once where their books lack some of the samples."""
    books = [expert for expert in experts if isinstance(expert, AnswerBook)]
    missing = {book.client: lacking for book in books if len(lacking := book.missing(samples))}
    if missing:
        raise UnansweredError(missing)
