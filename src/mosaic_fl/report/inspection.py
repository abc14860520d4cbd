"""A contribution's inspection in words that a data-protection officer understands."""

from collections.abc import Iterator

from mosaic_fl.encoders.statement import encoder_lines
from mosaic_fl.runs.inspection import Inspection
from mosaic_fl.runs.model_inspection import ModelInspection, bundle_words, trust_words

MOST_CLASSES = 12  # in one line


def inspection_lines(inspection: Inspection) -> Iterator[str]:
    """The lines of `mosaic inspect`."""
    contribution = inspection.contribution
    own = contribution.schema.part(contribution.fields)
    yield f"{inspection.file}: the contribution of client {contribution.client}, {inspection.size:,} bytes"
    yield f"SHA-256: {inspection.digest}"
    yield f"Learnt from: {int(contribution.class_counts.sum()):,} samples of {own.summary}"
    yield f"Of each class: {_counts(inspection)}"
    yield f"Protection: {inspection.protection}"
    yield "What is in it, and what that tells:"
    for content in inspection.contents:
        yield f"  {content.name}: {content.what}"
        if content.name == "generator":
            yield f"      {inspection.generator} ({contribution.generator_note})"
        yield f"      read by: {content.reads}"
        yield f"      tells: {_tells(inspection, content.name, content.tells)}"
    yield f"Not in it: {', '.join(content.name for content in inspection.absent) or 'nothing is left out'}"
    audit = contribution.audit
    if audit is not None:
        basis = f" (0.50 tells nothing; {audit.basis})" if audit.attack else ""
        yield f"Audit by the site: it {audit.summary}{basis}"
    for warning in inspection.warnings:
        yield f"Look at this: {warning}"


def model_lines(inspection: ModelInspection) -> Iterator[str]:
    """The lines of `mosaic inspect` for a global model."""
    values = inspection.to_json()
    yield f"{inspection.file}: a global model, {inspection.size:,} bytes"
    yield f"SHA-256: {inspection.digest}"
    yield f"Model: {values['model']} of {values['schema']}"
    yield from encoder_lines(values)
    yield f"The file {bundle_words(values)}"
    yield f"Trust: {trust_words(values)}"


def _tells(inspection: Inspection, name: str, tells: str) -> str:
    private = inspection.contribution.privacy is not None
    return "what follows from the noisy numbers, and no more than ε allows" if private and name in NOISY else tells


NOISY = frozenset({"expert", "class_counts", "generator"})


def _counts(inspection: Inspection) -> str:
    held = {name: count for name, count in inspection.counts.items() if count}
    shown = [f"{name} {count:,}" for name, count in list(held.items())[:MOST_CLASSES]]
    more = len(held) - len(shown)
    text = ", ".join(shown) + (f", and {more} more classes" if more else "")
    return f"{text} (with noise)" if inspection.contribution.privacy is not None else text
