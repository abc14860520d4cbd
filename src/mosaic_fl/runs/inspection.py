"""What a contribution's file holds, of how many samples, with which protection, and what it could reveal: a value."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import exp
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.exchange.contents import CONTENTS, GENERATORS, Content, present
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.global_model import KIND as MODEL
from mosaic_fl.exchange.model_file import model_file
from mosaic_fl.runs.model_inspection import ModelInspection, inspect_model
from mosaic_fl.server.class_moments import tells
from mosaic_fl.storage import container

SIZES = "sizes"  # of components, in a state of class moments
FEW = 10  # samples of a class below which what is learnt of it is nearly these samples


@dataclass(frozen=True)
class Inspection:
    """A file of `size` bytes with a `contribution`."""

    file: str
    size: int
    digest: str
    contribution: Contribution

    @property
    def counts(self) -> Mapping[str, int]:
        """Training samples by the name of their class, as the file tells them: noisy ones with differential privacy."""
        names = self.contribution.schema.classes
        return dict(zip(names, self.contribution.class_counts.tolist(), strict=True))

    @property
    def contents(self) -> list[Content]:
        """What is in it."""
        return present(self.contribution)

    @property
    def absent(self) -> list[Content]:
        """What could be in it and is not."""
        names = {content.name for content in self.contents}
        return [content for content in CONTENTS if content.name not in names]

    @property
    def generator(self) -> str:
        """What its generator is, in words; empty without one."""
        spec = self.contribution.generator_spec
        if spec is None:
            return ""
        return f"{spec.family}: {GENERATORS.get(spec.family, 'a generator of another package')}"

    @property
    def protection(self) -> str:
        """Which protection is proved, in words."""
        statement = self.contribution.privacy
        if statement is None:
            return "none that is proved: it has no differential privacy"
        return (
            f"differential privacy, {statement.summary}: with or without one sample, whatever was sent was as probable "
            f"but for a factor of {exp(statement.epsilon):.3g} at most, and a chance of {statement.delta:g} beside"
        )

    @property
    def warnings(self) -> list[str]:
        """What could be revealed more than elsewhere, in words."""
        contribution = self.contribution
        if contribution.privacy is not None:
            return []
        few = [name for name, count in self.counts.items() if 0 < count < FEW]
        lines = []
        if few:
            names = f"{', '.join(few[:FEW])}{', …' if len(few) > FEW else ''}"
            lines.append(f"fewer than {FEW} samples of {names}: what was learnt of so few may show them")
        if contribution.audit is None:
            lines.append("no audit is in the file: nobody has measured what it tells (docs/audit.md)")
        elif not contribution.audit.passes:
            accepted = contribution.audit.accepted
            why = f"; the site took the risk: {accepted}" if accepted else ""
            lines.append(f"it {contribution.audit.summary}{why}")
        if len(contribution.prototypes.labels):
            least = int(contribution.prototypes.sizes.min())
            lines.append(f"the smallest prototype is the mean of {least} sample{'s' * (least != 1)}")
        if len(sizes := _component_sizes(contribution)):
            least = int(sizes.min())
            lines.append(
                f"its class moments tell {len(sizes)} groups of samples within classes, the smallest of {least}"
            )
        return lines

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        contribution = self.contribution
        return {
            "file": self.file,
            "bytes": self.size,
            "sha256": self.digest,
            "client": contribution.client,
            "model": contribution.architecture,
            "schema": contribution.schema.part(contribution.fields).summary,
            "samples": int(contribution.class_counts.sum()),
            "classes": dict(self.counts),
            "generator": self.generator,
            "generator_note": contribution.generator_note,
            "privacy": None if contribution.privacy is None else contribution.privacy.to_json(),
            "protection": self.protection,
            "contents": [
                {"field": content.name, "what": content.what, "read_by": content.reads, "tells": content.tells}
                for content in self.contents
            ],
            "absent": [content.name for content in self.absent],
            "warnings": self.warnings,
            "audit": None if contribution.audit is None else contribution.audit.to_json(),
        }


def inspect(path: Path, key: container.Key = None) -> Inspection | ModelInspection:
    """The inspection of a contribution's or a global model's file, read as a server reads it.

    A run's folder stands for its model. Raises UsageError for anything else.
    """
    file = model_file(path) if path.is_dir() else path
    data = container.read_bytes(file, key)
    if container.kind_of(data) == MODEL:
        return inspect_model(data, str(file))
    contribution = Contribution.from_bytes(data, str(file))
    return Inspection(str(file), len(data), hashlib.sha256(data).hexdigest(), contribution)


def _component_sizes(contribution: Contribution) -> Tensor:
    """The samples behind each component of classes (m,) in its class moments; none where each class is one Gaussian."""
    beside = None if contribution.moments is None else contribution.moments.state
    states = [beside, contribution.generator if tells(contribution) else None]
    told = [state[SIZES] for state in states if state and SIZES in state]
    return torch.cat([torch.zeros(0, dtype=torch.int64), *told])
