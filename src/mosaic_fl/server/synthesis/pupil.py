"""The student of DENSE and Co-Boosting between two epochs: all that the next one goes on from."""

from collections.abc import Callable

import torch
from torch import Tensor

from mosaic_fl.config import Config
from mosaic_fl.domains.schema import Schema
from mosaic_fl.numerics.states import copy_state, under
from mosaic_fl.server.synthesis.pool import SyntheticPool
from mosaic_fl.server.synthesis.student import new_student, sgd

# before the names of the student's weights, and the optimiser's buffers
WEIGHT = "student/"
MOMENTUM = "momentum/"


class Pupil:
    """The student on `device`, its optimiser, the pool that it learns from, and the teachers' answers on it.

    `answers` are logits (n, …, C) of the pool's n images in their order, on the CPU. It goes on from the `memory()` of
    a pupil of the same configuration, or begins anew where that is empty.
    """

    def __init__(
        self,
        config: Config,
        schema: Schema,
        device: torch.device,
        memory: dict[str, Tensor],
        answers: Tensor,
        weight_decay: float = 0.0,
    ) -> None:
        self.architecture, self.student = new_student(config, schema)
        self.optimiser = sgd(self.student.to(device), config.synthesis, weight_decay)
        self.pool = SyntheticPool(schema.kind)
        self.answers = answers
        self.device = device
        if memory:
            self._go_on(memory)

    def show(self, images: Tensor, labels: Tensor, ask: Callable[[Tensor], Tensor]) -> None:
        """Add float `images` in −1..1 and their labels to the pool, and to `answers` what `ask` says of them at rest.

        The models behind `ask` never change, so it is asked once an image.
        """
        self.pool.add(images, labels)
        with torch.no_grad():
            new = self.pool.at(torch.arange(len(self.answers), len(self.pool)), self.device)
            self.answers = torch.cat([self.answers, ask(new).cpu()])

    def memory(self) -> dict[str, Tensor]:
        """Weights, momentum, and the pool with the answers, by name, on the CPU."""
        weights = {WEIGHT + name: tensor for name, tensor in copy_state(self.student).items()}
        buffers = {i: slot["momentum_buffer"] for i, slot in self.optimiser.state_dict()["state"].items()}
        momentum = {f"{MOMENTUM}{i}": buffer.cpu() for i, buffer in buffers.items() if buffer is not None}
        return weights | momentum | {"values": self.pool.values, "labels": self.pool.labels, "answers": self.answers}

    def _go_on(self, memory: dict[str, Tensor]) -> None:
        self.student.load_state_dict(under(WEIGHT, memory))
        state = {int(i): {"momentum_buffer": buffer} for i, buffer in under(MOMENTUM, memory).items()}
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": state})
        self.pool.keep(memory["values"], memory["labels"])
        self.answers = memory["answers"]
