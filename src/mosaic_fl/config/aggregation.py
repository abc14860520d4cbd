"""How many liars a rule of `rounds.aggregate` stands among how many clients. No torch: commands check it first."""

from math import ceil

from mosaic_fl.config.experiment import PartitionConfig
from mosaic_fl.config.server import RoundsConfig
from mosaic_fl.errors import UsageError


def liars_among(clients: int, share: float) -> int:
    """The number of liars among `clients` that a `share` stands for: rounded up, one at least."""
    return max(1, ceil(share * clients - 1e-9))  # 0.07 · 100 is a little above 7


def fewest(rule: str, liars: int) -> int:
    """The number of clients below which `rule` cannot stand `liars` of them; of the plain mean one.

    2f + 3 for Krum (Blanchard et al. 2017), of which those that it keeps have a neighbour each; else a majority.
    """
    if rule == "mean":
        return 1
    return 2 * liars + (3 if rule == "krum" else 1)


def check_number(rounds: RoundsConfig, clients: int, of: str = "") -> None:
    """Raise UsageError where `rounds.aggregate` cannot stand `rounds.liars` among `clients` clients a round.

    `of` says which clients these are.
    """
    liars = liars_among(clients, rounds.liars)
    least = fewest(rounds.aggregate, liars)
    if clients < least:
        raise UsageError(
            f"rounds.aggregate = {rounds.aggregate} stands {liars} liar{'s' * (liars > 1)} among {least} clients, and "
            f"a round has {clients}{of}: take more clients, a lower rounds.liars (now {rounds.liars:g}), or mean"
        )


def clients_a_round(rounds: RoundsConfig, clients: int) -> int:
    """The clients that take part in a round, of `clients`."""
    return max(1, int(rounds.participation * clients + 0.5))


def check_aggregate(
    title: str, rounds: RoundsConfig, partition: PartitionConfig, *, follows: bool, parts: bool
) -> None:
    """Raise UsageError for a rule that the method `title` cannot follow, or that stands too few clients.

    `follows`: whether its rounds average clients' weights. `parts`: whether these are of sub-models of several widths.
    """
    if rounds.aggregate == "mean":
        return
    if not follows:
        raise UsageError(f"{title} averages no weights, so rounds.aggregate = {rounds.aggregate} guards nothing there")
    if parts:
        raise UsageError(
            f"rounds.aggregate = {rounds.aggregate} is for whole models, and a channel of the widest sub-models may be "
            "one client's word alone: set it to mean, or take fedavg (rounds.kind = fedavg)"
        )
    check_number(rounds, clients_a_round(rounds, partition.clients))
