"""Contribution files by themselves, without a run: what each is, who signed it, and what is odd beside the others."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mosaic_fl.config import Config
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.global_model import KIND as MODEL
from mosaic_fl.exchange.signers import Signers
from mosaic_fl.experts.answers.book import AnswerBook
from mosaic_fl.runs.model_inspection import bundle_words, inspect_model
from mosaic_fl.server.agreement import compatible
from mosaic_fl.server.experts import MixtureOfExperts
from mosaic_fl.server.joining import sampler_of
from mosaic_fl.server.trust.plausibility import Doubt, doubts
from mosaic_fl.server.trust.report import TrustReport, Verdict, lines_of
from mosaic_fl.server.trust.vet import examine
from mosaic_fl.storage.container import MAX_FILE, kind_of
from mosaic_fl.storage.encryption import decrypt, is_encrypted
from mosaic_fl.storage.files import read_bytes
from mosaic_fl.storage.keys import PrivateKey
from mosaic_fl.storage.signature import signature_of

UNSIGNED = "no"
UNCHECKED = "unchecked"
GENUINE = "yes"
WRONG = "wrong"


@dataclass(frozen=True)
class FileReport:
    """One file: whether it is encrypted (None: it cannot be read), whether it is `signed`, and what it holds.

    `defect` is why it is no contribution that counts, empty where it is one.
    """

    path: Path
    encrypted: bool | None
    signed: str
    contribution: Contribution | None
    defect: str

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        c = self.contribution
        return {
            "file": str(self.path),
            "encrypted": self.encrypted,
            "signed": self.signed,
            "defect": self.defect or None,
            "client": None if c is None else c.client,
            "samples": None if c is None else int(c.class_counts.sum()),
            "model": None if c is None else c.architecture,
            "generator": None if c is None or c.generator_spec is None else c.generator_spec.family,
            "schema": None if c is None else c.schema.summary,
        }


@dataclass(frozen=True)
class CheckReport:
    """All files, the doubts about those that are contributions, and how these agree with each other.

    `trust` is what a distillation of them would hold of each; None where it would refuse them.
    """

    files: list[FileReport]
    doubts: list[Doubt]
    trust: TrustReport | None = None

    def verdict(self, file: FileReport) -> Verdict | None:
        """What is held of the contribution in a file; None where it is none, or nobody compared it."""
        if self.trust is None or file.contribution is None:
            return None
        return self.trust.of(file.contribution.client)

    @property
    def is_clean(self) -> bool:
        """Whether every file counts, and nothing is odd."""
        return not self.doubts and not any(file.defect for file in self.files)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        rows = [{"rule": d.rule, "clients": list(d.clients), "text": d.text} for d in self.doubts]
        trust = None if self.trust is None else self.trust.to_json()
        files = [file.to_json() for file in self.files]
        return {"clean": self.is_clean, "files": files, "doubts": rows, "trust": trust}


def check_files(paths: Sequence[Path], key: PrivateKey | None = None, signers: Signers | None = None) -> CheckReport:
    """The report of these files; encrypted ones are read by `key`. One bad file hides no other."""
    files = [_check(path, key, signers) for path in paths]
    sent = [file.contribution for file in files if file.contribution is not None]
    found = doubts(sent)
    trust = _examine(sent)
    rows = [] if trust is None else trust.verdicts
    said = [Doubt("trust", (v.client,), line) for v in rows if v.contradicted or v.doubts for line in lines_of(v)]
    return CheckReport(files, found + said, trust)


def _examine(sent: Sequence[Contribution]) -> TrustReport | None:
    """What a distillation would hold of these contributions; None where they do not fit together."""
    try:
        fitting = compatible(sent)
    except UsageError:  # the doubts say why
        return None
    classes = fitting[0].schema.num_classes
    boxes = {c.client: AnswerBook(c.client, classes) for c in fitting if c.is_black_box}
    mixture = MixtureOfExperts.of(fitting, boxes)
    device = torch.device("cpu")
    return examine(fitting, mixture.experts, lambda: sampler_of(fitting, device, mixture.experts), Config(), device)


def _check(path: Path, key: PrivateKey | None, signers: Signers | None) -> FileReport:
    encrypted = None
    signed = UNSIGNED
    try:
        sent = read_bytes(path, MAX_FILE)
        encrypted = is_encrypted(sent)
        content = decrypt(sent, key, str(path))
        signed = WRONG if signature_of(content, str(path))[0] else UNSIGNED
        signed = UNCHECKED if signed == WRONG and signers is None else signed
        contribution = _read(content, str(path)) if signers is None else signers.read(content, str(path), _read)
    except MosaicError as error:
        return FileReport(path, encrypted, signed, None, str(error))
    if signed == WRONG:  # nothing was wrong with it
        signed = GENUINE
    return FileReport(path, encrypted, signed, contribution, "")


def _read(content: bytes, source: str) -> Contribution:
    if kind_of(content) == MODEL:
        about = bundle_words(inspect_model(content, source).to_json())
        raise UsageError(f"{source} is a global model, no contribution; it {about}")
    return Contribution.from_bytes(content, source)
