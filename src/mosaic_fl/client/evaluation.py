"""Models from files, scored at a site on its own labelled samples."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from mosaic_fl.client.contribute import Site, split
from mosaic_fl.client.custody import JUDGEMENT, Custody
from mosaic_fl.client.scoring import Judged
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.schema import Schema
from mosaic_fl.encoders.reading import load_as
from mosaic_fl.errors import RefusalError, UsageError
from mosaic_fl.exchange.contribution import KIND as CONTRIBUTION
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.encoded import encoded
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.exchange.model_file import model_file
from mosaic_fl.exchange.score_names import GLOBAL, OWN
from mosaic_fl.experts.no_model import has_model
from mosaic_fl.notes import note
from mosaic_fl.storage import container
from mosaic_fl.storage.keys import PrivateKey


@dataclass(frozen=True)
class Candidate:
    """A model of the file `path` with its SHA-256: a global model, or the contribution of this site."""

    path: Path
    digest: str
    model: GlobalModel | Contribution

    @property
    def schema(self) -> Schema:
        """The schema of its samples."""
        return self.model.schema

    def judged(self) -> Judged:
        """It with its expert; raises UsageError for a contribution without a model."""
        if isinstance(self.model, GlobalModel):
            return Judged(GLOBAL, self.model.expert(), self.digest)
        if self.model.is_black_box or not has_model(self.model.architecture):
            raise UsageError(f"{self.path} has no model, which stays at its site: leave it out")
        return Judged(OWN, self.model.build_expert(), self.digest)


def read_candidates(paths: Sequence[Path], key: PrivateKey | None = None) -> list[Candidate]:
    """The models of the files or run folders `paths`, global ones first.

    Raises UsageError where a file is neither kind of model, for two contributions, for a file that comes twice, and for
    models of different samples.
    """
    candidates = list[Candidate]()
    for path in map(model_file, paths):
        data = container.read_bytes(path, key)
        read = Contribution.from_bytes if container.kind_of(data) == CONTRIBUTION else GlobalModel.from_bytes
        candidates.append(Candidate(path, hashlib.sha256(data).hexdigest(), read(data, str(path))))
    candidates.sort(key=lambda candidate: isinstance(candidate.model, Contribution))
    own = [candidate for candidate in candidates if isinstance(candidate.model, Contribution)]
    if len(own) > 1:
        raise UsageError(f"{own[0].path} and {own[1].path} are two contributions: give the one of this site")
    first = candidates[0]
    seen = {first.digest}
    for other in candidates[1:]:
        if other.schema != first.schema:
            raise UsageError(f"{other.path} has {other.schema.difference(first.schema)} as {first.path}")
        if other.digest in seen:
            raise UsageError(f"{other.path} is the same model as one before it: give it once")
        seen.add(other.digest)
    return candidates


def own_in(candidates: Sequence[Candidate]) -> Contribution | None:
    """The site's contribution among the models, or None."""
    return next((one.model for one in candidates if isinstance(one.model, Contribution)), None)


def read_samples(path: Path, candidates: Sequence[Candidate], config: Config, device: torch.device) -> Dataset:
    """The labelled samples at `path`, as the models take them."""
    first = candidates[0]
    behind = None
    if isinstance(first.model, GlobalModel) and first.model.bundle:
        behind = encoded(first.model, config.data.encoder)
    encoder = None if behind is None else behind.encoder
    return load_as(path, first.schema, config.data, str(first.path), device, encoder)


def admit(custody: Custody, site: Site, config: Config, device: torch.device, least: int) -> None:
    """Log that the data are read for scores that may leave, each of `least` samples.

    Raises RefusalError for what the site's limits forbid, or a spent budget.
    """
    custody.check(site, config, device, JUDGEMENT)
    custody.foresee(site, JUDGEMENT, None)
    if not custody.figures:
        raise RefusalError("limits.figures = false, and scores are figures of validation")
    if custody.limits is not None and least < custody.limits.min_cluster:
        raise RefusalError(f"--least {least} is below limits.min_cluster = {custody.limits.min_cluster}")
    custody.read(site)


def held_back(data: Dataset, client: int, own: Contribution | None, config: Config) -> Dataset:
    """The part of `data` that the contribution of `client` held back, by the seed and the share of the settings.

    Raises UsageError where its classes are not the rest of what `own` was made of, and where that held nothing back.
    Another seed gives other samples of the same classes, which cannot be seen.
    """
    train, validation = split(Site(client, data, ""), config)
    if own is not None and own.privacy is not None:
        raise UsageError("a contribution under differential privacy held nothing back: leave --held-back out")
    if own is not None and train.class_counts().tolist() != own.class_counts.tolist():
        raise UsageError(
            "the contribution was made of other data, or with another data.validation: give --seed and --set as mosaic "
            "contribute had them, or leave --held-back out"
        )
    return validation


def tell_trained(data: Dataset, own: Contribution | None, config: Config) -> None:
    """Note where the site's own model seems to have learnt from these very samples."""
    if own is None or own.privacy is not None:
        return
    train, _ = split(Site(own.client, data, ""), config)
    if own.class_counts.tolist() in (train.class_counts().tolist(), data.class_counts().tolist()):
        note(
            f"these seem to be the samples that client {own.client} was trained on, so its own model looks better than "
            "it is: --held-back takes those alone that it held back"
        )
