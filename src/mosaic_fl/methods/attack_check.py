"""Whether a simulated attack can touch a method, told before any work."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mosaic_fl.config import Config
from mosaic_fl.config.attack_name import parse
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.experts.naming import kind_of
from mosaic_fl.experts.network import NETWORK
from mosaic_fl.registries import ATTACKS

if TYPE_CHECKING:
    from mosaic_fl.methods.card import Card


def check_attack(card: "Card", config: Config, schema: Schema, models: Sequence[str]) -> None:
    """Raise UsageError where the attack of the settings changes nothing that the method reads."""
    if not config.run.attack:
        return
    attack = ATTACKS[parse(config.run.attack)[0]]
    contributes = not card.rounds or bool(card.transfer)
    rounds = config.rounds.warm_up + config.rounds.fine_tune
    averages = (card.rounds and not card.boosts) or (card.fuses and rounds > 0)
    touches = (attack.forge is not None and contributes) or (attack.update is not None and averages)
    if attack.poison is None and not touches:
        part = "contributions" if attack.forge is not None else "updates of rounds"
        raise UsageError(f"attack {attack.name} changes {part}, and {card.title} has none: take another attack")
    if reason := _lack(card, config, schema, models, attack.needs):
        raise UsageError(f"attack {attack.name} {reason}")


def _lack(card: "Card", config: Config, schema: Schema, models: Sequence[str], needs: frozenset[str]) -> str:
    """What of an attack's needs is not there, in words; empty where nothing is missing."""
    if "pictures" in needs and not any(kind.name == "image" for kind in schema.fields.values()):
        return f"paints on pictures, and samples are {schema.summary}"
    other = next((model for model in models if kind_of(model) is not NETWORK), None)
    if "network" in needs and other is not None:
        return f"changes the weights of networks, and {other!r} is none"
    if "generator" in needs and not (card.transfer and config.generator.family != "none"):
        return f"changes generators, and {card.title} uses none here"
    if "moments" in needs and not (config.moments.encoder or schema.is_space):
        return "changes class moments, and clients tell none: say --moments NAME, or --encoder NAME"
    return ""
