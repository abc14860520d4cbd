"""What a simulated attack did: its words in a result, and how often a backdoor opens."""

from collections.abc import Mapping
from typing import Any

from mosaic_fl.attacks import backdoor
from mosaic_fl.attacks.attackers import Attackers
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.exchange.global_model import GlobalModel


def attack_figures(attackers: Attackers | None, model: GlobalModel | None, test: Dataset) -> dict[str, Any]:
    """The figure `attack` of a result: who lies and how. Of a backdoor, `opens` is how often it does, a fraction.

    That is the share of the test samples of other classes that the patch turns into the attackers' class.
    """
    if attackers is None:
        return {}
    words: dict[str, Any] = {
        "name": attackers.attack.name, "liars": list(attackers.liars), "words": attackers.line
    }  # fmt: skip
    if attackers.attack.name.startswith(backdoor.NAME) and model is not None:
        patched = backdoor.with_patch(test)
        labels = model.logits(patched.samples).argmax(1)
        words["opens"] = float((labels == backdoor.TARGET).double().mean()) if len(patched) else 0.0
    return {"attack": words}


def attack_lines(result: Mapping[str, Any]) -> list[str]:
    """The line that a command prints of an attack."""
    attack = result.get("attack")
    if attack is None:
        return []
    opens = f"; the backdoor opens at {attack['opens']:.1%} of pictures of other classes" if "opens" in attack else ""
    return [f"Attack: {attack['words']}{opens}"]
