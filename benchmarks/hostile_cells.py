"""The cells of `hostile.py`, and their table."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

HONEST = "honest"
MISSING = "missing"


@dataclass(frozen=True)
class Cell:
    """What one line is of: data set, α, seed, attack ("honest" and "missing" are two), how many lie, the defence.

    Its figures are means of so many `distillations`.
    """

    data: str
    alpha: float
    seed: int
    attack: str
    liars: int
    defended: bool
    distillations: int = 1

    @property
    def key(self) -> str:
        """Its name in the file of cells."""
        defence = "on" if self.defended else "off"
        return f"{self.data} {self.alpha:g} {self.seed} {self.attack}:{self.liars} {defence}{self.times}"

    @property
    def times(self) -> str:
        """How many distillations, where it is more than one; the end of names."""
        return f" ×{self.distillations}" if self.distillations > 1 else ""


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A line an attack: means over seeds, points under the run without the attackers, and who is doubted."""
    lines = [
        "| set, α | attack | lie | accuracy | under missing (worst) | opens (worst) | liars caught | honest | checks |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    by_key = {row["key"]: row for row in rows}
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        name = (row["data"], row["alpha"], row["attack"], row["liars"], row["defended"])
        groups.setdefault(name, []).append(row)
    for (data, alpha, attack, liars, defended), group in groups.items():
        opening = [100 * row["opens"] for row in group]
        gaps = [gap for row in group if (gap := _gap(row, by_key)) is not None]
        caught = [_caught(row) for row in group]
        share = statistics.mean(row["check_seconds"] / row["distil_seconds"] for row in group)
        lines.append(
            f"| {data}, {alpha:g} | {attack}{'' if defended else ' (undefended)'} | {liars} "
            f"| {100 * statistics.mean(row['accuracy'] for row in group):.1f} "
            f"| {f'{statistics.mean(gaps):.1f} ({max(gaps):.1f})' if gaps else ''} "
            f"| {statistics.mean(opening):.0f} ({max(opening):.0f}) "
            f"| {sum(liar for liar, _ in caught)} of {liars * len(group) if attack not in (HONEST, MISSING) else 0} "
            f"| {sum(honest for _, honest in caught)} | {100 * share:.0f} % |"
        )
    return "\n".join(lines)


def _gap(row: dict[str, Any], by_key: dict[str, dict[str, Any]]) -> float | None:
    """Points under the same run without the attackers."""
    place = (row["data"], row["alpha"], row["seed"], MISSING, row["liars"], row["defended"])
    cell = Cell(*place, row.get("distillations", 1))
    missing = by_key.get(cell.key)
    return None if missing is None or row["attack"] == HONEST else 100 * (missing["accuracy"] - row["accuracy"])


def _caught(row: dict[str, Any]) -> tuple[int, int]:
    """(liars, honest clients) that are in quarantine or count in part."""
    doubted = {*row["quarantined"], *row["down_weighted"]}
    return len(doubted & set(row["liar_numbers"])), len(doubted - set(row["liar_numbers"]))
