"""Presets: whole configurations by name. The recipe of the paper is one of them."""

from collections.abc import Mapping
from typing import Any

from mosaic_fl.config import Config
from mosaic_fl.config.client import BARE
from mosaic_fl.errors import unknown

PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    # Colour photographs, which small generators draw blurred: the best settings of docs/notes/natural-images.md.
    "natural": {
        "train.patience": 0,
        "meta.kind": "none",
        "distill.teacher": "class_balanced",
        "distill.choose": True,
        "distill.candidates": ["class_balanced", "class_evened"],
        "distill.candidate_share": 0.1,
        "distill.prior": "photos",
        "distill.kl": 1.0,
        "distill.label": 0.0,
        "distill.augment": "flip",
        "distill.pool": 8000,
        "distill.prior_pool": 24_000,
        "distill.plain": False,
        "distill.hybrid": 0.33,
        "distill.cutmix": 0.5,
        "distill.steps": 4000,
        "distill.terms": 1,
    },
    # A public encoder and class moments: nothing is trained at a site, nor at the server (docs/encoders.md).
    "encoder": {
        "data.encoder": "auto",
        "models.clients": ["discriminant"],
        "models.student": "quadratic",
        "generator.family": "moments",
    },
    # What a site sends where its user names no model: noisy class moments, and nothing else (docs/privacy.md).
    "private": {
        "data.encoder": "auto:small",
        "models.clients": ["discriminant"],
        "models.student": "quadratic",
        "generator.family": "moments",
        "privacy.epsilon": 10.0,
    },
    # The reference recipe of arXiv 2505.19699. It does not give the number of fine-tuning rounds: that is ours.
    "paper": {
        "models.clients": ["resnet18"],
        "models.student": "resnet18",
        "train.optimiser": "sgd",
        "train.lr": 0.01,
        "train.momentum": 0.0,
        "train.weight_decay": 1e-4,
        "train.schedule": "constant",
        "train.patience": 0,
        "train.augment": "none",
        "rounds.warm_up": 300,
        "rounds.steps": 10,
        "rounds.fine_tune": 10,
        "rounds.optimiser": "train",
        "rounds.fine_tune_lr": 1e-4,
        "generator.family": "dcgan",
        "generator.epochs": 200,
        "generator.lr": 2e-4,
        "generator.latent": 100,
        "generator.width": 64,
        "generator.adversarial": 1.0,
        "generator.entropy": 1.0,
        "generator.diversity": 5.0,
        "generator.inversion": 1.0,
        "prototypes.per_class": 10,
        "experts.kind": "class_average",
        "meta.kind": "transformer",
        "meta.source": "prototypes",
        "meta.ema": 0.99,
        "distill.teacher": "meta",
        "distill.prior": "none",
        "distill.fresh": True,
        "distill.balanced": False,
        "distill.steps": 2000,
        "distill.batch_size": 320,
        "distill.lr": 1e-4,
        "distill.schedule": "constant",
        "distill.weight_decay": 0.0,
        "distill.temperature": 1.0,
        "distill.kl": 0.8,
        "distill.label": 0.0,
        "distill.teacher_label": 0.2,
        "distill.jsd": 1.0,
        "distill.ema": 0.0,
        "distill.holdout": 0.0,
    },
}


def preset_config(name: str, below: Mapping[str, Any] | None = None) -> Config:
    """The preset `name` on top of the settings `below`; raises UsageError, with all names, for an unknown one."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    below = dict(below or {})
    # A method's card switches off what the method does not use: no preset switches it on again.
    bare = {key: below[key] for key in BARE if key in below}
    return Config().with_values({**below, **PRESETS[name], **bare})
