"""`mosaic methods`: list every method, its needs, and the model that it serves."""

from dataclasses import fields
from typing import Any

from mosaic_fl.cli.output import results
from mosaic_fl.methods import METHODS, Card

NEEDS = {
    "equal_architectures": "equal architectures",
    "rounds": "rounds",
    "real_data": "real held-back data",
    "images": "images",
    "vectors": "vectors of a public encoder",
}
CODE = ("code", "checks", "settings")  # fields of a card that hold functions


def methods() -> None:
    """List every method: its paper, what it needs and what it serves."""
    cards = card_fields()
    results(cards)
    width = max(len(card["name"]) for card in cards) + 2
    for card in cards:
        capabilities = [f"experts' {capability}" for capability in card["requires"]]
        needs = ", ".join([*(words for key, words in NEEDS.items() if card[key]), *capabilities]) or "nothing more"
        source = card["paper"] if not card["reference"] else "a line to measure against"
        print(f"{card['name']:<{width}}{card['title']} ({source})")
        print(f"{'':<{width}}{card['summary']}")
        print(f"{'':<{width}}needs {needs}; serves {card['serves']}")


def card_fields() -> list[dict[str, Any]]:
    """The card of each method as a dict, by the names of its fields, with the method's `name`."""
    keys = [field.name for field in fields(Card) if field.name not in CODE]
    return [
        {
            "name": name,
            **{key: getattr(card, key) for key in keys},
            "defaults": dict(card.defaults),
            "requires": sorted(capability.name.lower() for capability in card.requires),
        }
        for name, card in METHODS.items()
    ]
