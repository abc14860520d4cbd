"""`mosaic methods`: what there is to compare, what each needs, and what it serves."""

import json
from dataclasses import fields
from typing import Annotated, Any

import typer

from mosaic_fl.methods import METHODS, Card

NEEDS = {"equal_architectures": "equal architectures", "rounds": "rounds", "real_data": "real held-back data"}
CODE = ("code", "checks", "settings")  # a card's functions


def methods(
    as_json: Annotated[bool, typer.Option("--json", help="as JSON, one object a method")] = False,
) -> None:
    """List every method: its paper, what it needs and what it serves."""
    cards = described()
    if as_json:
        print(json.dumps(cards, indent=2, ensure_ascii=False))
        return
    width = max(len(card["name"]) for card in cards) + 2
    for card in cards:
        offered = [f"experts' {capability}" for capability in card["requires"]]
        needs = ", ".join([*(words for key, words in NEEDS.items() if card[key]), *offered]) or "nothing more"
        by = card["paper"] if not card["reference"] else "a line to measure against"
        print(f"{card['name']:<{width}}{card['title']} ({by})")
        print(f"{'':<{width}}{card['summary']}")
        print(f"{'':<{width}}needs {needs}; serves {card['serves']}")


def described() -> list[dict[str, Any]]:
    """What the cards of all methods say, by the names of their fields, and each method's `name`."""
    told = [field.name for field in fields(Card) if field.name not in CODE]
    return [
        {
            "name": name,
            **{key: getattr(card, key) for key in told},
            "defaults": dict(card.defaults),
            "requires": sorted(capability.name.lower() for capability in card.requires),
        }
        for name, card in METHODS.items()
    ]
