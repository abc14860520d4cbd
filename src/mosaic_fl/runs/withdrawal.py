"""A withdrawal before it begins: whose contribution goes, what stays, and all checks. Nothing is changed here."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mosaic_fl.config import Config
from mosaic_fl.config.toml import from_toml
from mosaic_fl.data.places import at_home
from mosaic_fl.encoders.reading import load
from mosaic_fl.engines.contribution_store import ContributionStore
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.methods import METHODS
from mosaic_fl.notes import note
from mosaic_fl.runs.file_exchange import Distillation, prepare_distillation
from mosaic_fl.runs.folder import MARKER, require_run
from mosaic_fl.runs.removal import SETTINGS, doomed, foreign
from mosaic_fl.runs.result import final_result
from mosaic_fl.runs.runner import fingerprint
from mosaic_fl.runs.shelf import SHELF
from mosaic_fl.runs.sources import Source, file_digest, read_sources
from mosaic_fl.server.feature_space import feature_space
from mosaic_fl.server.recipes import with_moments_prior
from mosaic_fl.server.transfer import has_prior
from mosaic_fl.storage.journal import Journal
from mosaic_fl.storage.keys import PrivateKey

COMMAND = "withdraw"
"""The command in the marker of a folder in which a withdrawal has begun and not ended."""
SIMULATION = "simulation"
"""In the marker of a distillation that was a simulation: the hash of its data, which are there to test on."""
LEAST = 1  # contributions that a distillation takes


@dataclass(frozen=True)
class Withdrawal:
    """`client` leaves the run in `folder`, and `distillation` is made of the others with the run's own configuration.

    `before` has the command of the run's marker, and the hash of a simulation's data (None where files came).
    `removed` has the SHA-256 of each file that goes, by its path in the folder. `outside` is the client's contribution
    where that lay elsewhere and is gone already. `begun` is what the marker says of a withdrawal that goes on.
    """

    folder: Path
    client: int
    distillation: Distillation
    before: Mapping[str, Any]
    removed: Mapping[str, str]
    outside: Source | None = None
    begun: Mapping[str, Any] | None = None


def prepare_withdrawal(folder: Path, client: int, key: PrivateKey | None = None) -> Withdrawal:
    """All that the withdrawal of `client` needs, after its checks; encrypted contributions are read by `key`.

    Raises UsageError where `folder` holds no finished run of the method mosaic, simulated or by files; where the client
    takes no part in it, or its weights are in the other contributions too; where others' contributions are missing or
    too few; and where the client's own file lies outside the folder and is still there.
    """
    marker = require_run(folder)
    if marker.get("command") == COMMAND:
        return _again(folder, client, marker, key)
    config, sources, regional = _contributions(folder, marker)
    if client not in sources:
        numbers = ", ".join(map(str, sorted(sources)))
        if (folder / SHELF).is_dir():
            numbers += f"; stages of others, which were distilled here before, are in {folder / SHELF}: delete that"
        raise UsageError(f"client {client} takes no part in {folder}: its clients are {numbers}")
    own = sources[client]
    others = {k: source for k, source in sources.items() if k != client}
    _require_others(folder, client, others)
    outside = None
    if not _is_in(folder, own.path):
        if own.is_there:
            raise UsageError(
                f"the contribution of client {client} is {own.path}, outside {folder}: delete that file yourself, then "
                "give this command again"
            )
        outside = own
    for made in regional:
        if not _is_in(folder, made.path) and made.is_there:
            raise UsageError(
                f"{made.path}, outside {folder}, was made of all its clients and holds what client {client} sent: "
                "delete that file yourself, then give this command again"
            )
    simulation = marker.get("inputs" if marker["command"] == "run" else SIMULATION)
    config = _by_files(config, simulated=simulation is not None)
    distillation = _distillation(folder, others, config, simulation, key)
    if strangers := foreign(folder):
        names = ", ".join(strangers[:5])
        note(f"{folder} holds files that no run wrote ({names}): look yourself whether they are of the client")
    place = None if outside else folder / own.path.resolve().relative_to(folder.resolve())
    removed = doomed(folder, place, {own.digest, *(made.digest for made in regional)})
    before = {"command": marker["command"], SIMULATION: simulation}
    return Withdrawal(folder, client, distillation, before, removed, outside)


def _again(folder: Path, client: int, marker: Mapping[str, Any], key: PrivateKey | None) -> Withdrawal:
    """The withdrawal that has begun in `folder`."""
    try:
        begun = marker["withdrawal"]
        before = int(begun["client"])
        others = {int(k): Source(folder / row["file"], str(row["sha256"])) for k, row in begun["others"].items()}
        removed = {str(name): str(digest) for name, digest in begun["removed"].items()}
        row = begun["outside"]
        outside = None if row is None else Source(Path(row["file"]), str(row["sha256"]))
        first = begun["before"]
        simulation = first["simulation"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{folder / MARKER} is damaged: distil the other contributions into another folder") from error
    if before != client:
        raise UsageError(f"the withdrawal of client {before} from {folder} has not ended: give that number first")
    _require_others(folder, client, others)
    config = _by_files(from_toml(folder / SETTINGS), simulated=simulation is not None)
    distillation = _distillation(folder, others, config, simulation, key)
    return Withdrawal(folder, client, distillation, first, removed, outside, begun)


def _contributions(folder: Path, marker: Mapping[str, Any]) -> tuple[Config, dict[int, Source], tuple[Source, ...]]:
    """The run's configuration, its contribution files by client, and contributions that were made of all of them."""
    command = marker.get("command")
    if command not in ("run", "distill"):
        raise UsageError(f"{folder} was written by mosaic {command}: clients leave a run or a distillation alone")
    result = final_result(folder)
    if result is None:
        raise UsageError(f"the run in {folder} has not ended: go on with it first, by its command and --resume")
    config = from_toml(folder / SETTINGS)
    if config.run.method != "mosaic":
        title = METHODS[config.run.method].title
        raise UsageError(f"{folder} holds a run of {title}, which is not made from contributions: run it anew without")
    rounds = [f"rounds.{name} = {getattr(config.rounds, name)}" for name in ("warm_up", "fine_tune")]
    if config.rounds.warm_up or config.rounds.fine_tune:
        raise UsageError(
            f"{' and '.join(rounds)}: averaging put this client's weights into the other contributions or the model, "
            "so nothing can be withdrawn: run it anew without the client"
        )
    if command == "distill":
        sources = read_sources(folder)
        return config, dict(sources.contributions), sources.regional
    store = ContributionStore(Journal(folder))
    paths = {k: store.path(k) for k in range(int(result["clients"]))}
    files = {k: Source(p, file_digest(p) if p.is_file() else "") for k, p in paths.items() if p is not None}
    return config, files, ()


def _require_others(folder: Path, client: int, others: Mapping[int, Source]) -> None:
    """Raise UsageError unless the contributions of the other clients are where they were, and enough."""
    if len(others) < LEAST:
        raise UsageError(
            f"client {client} is the only one in {folder}, so nothing is left to distil: delete the folder to remove it"
        )
    for k, source in others.items():
        if not source.is_there:
            state = "has changed" if source.path.exists() else "is missing"
            raise UsageError(
                f"{source.path}, the contribution of client {k}, {state}: the others cannot be distilled again without "
                "it, so nothing was removed"
            )


def _by_files(config: Config, *, simulated: bool) -> Config:
    """The configuration of the distillation by files that follows.

    Files ask no client how to teach. The list of a simulation's models goes: its places are clients' numbers.
    """
    values: dict[str, Any] = {"models.clients": []} if simulated else {}
    if config.distill.choose is True:
        note("distill.choose = true asks clients, and a withdrawal asks none: what is measured says how to teach")
        values["distill.choose"] = False
    return config.with_values(values)


def _distillation(
    folder: Path, others: Mapping[int, Source], config: Config, simulation: str | None, key: PrivateKey | None
) -> Distillation:
    """The distillation of the `others`, checked, with the run's own test data where these are still there.

    `simulation` is the hash of a simulation's data, None where contributions came as files.
    """
    place = None if simulation is not None else read_sources(folder).test
    if place is not None and not at_home(place).exists():
        note(f"{place} is not there any more: the new global model is not tested")
        place = None
    prepared = prepare_distillation([source.path for source in others.values()], config, place, key, again=True)
    _require_samples(prepared.contributions, config)
    if simulation is None:
        return prepared
    try:
        splits = load(config)
    except UsageError as error:
        note(f"the new global model is not tested: {error}")
        return prepared
    if fingerprint(splits) != simulation:
        note(f"{config.data.name} has changed since the run: the new global model is not tested")
        return prepared
    return replace(prepared, test=splits.test)


def _require_samples(contributions: list[Contribution], config: Config) -> None:
    """Raise UsageError where the contributions leave nothing to distil on."""
    space = feature_space(contributions, config.moments.encoder)
    if space is not None:
        config = with_moments_prior(config, contributions[0].schema)
    drawn = has_prior(config.distill, contributions[0].schema) or (space is not None and space.encoder.decode)
    if all(c.generator is None for c in contributions) and not drawn:
        raise UsageError("no other client has a generator: without this one nothing is left to distil on")


def _is_in(folder: Path, path: Path) -> bool:
    """Whether the file lies in `folder` itself, not behind a link that leads elsewhere."""
    return path.resolve().is_relative_to(folder.resolve())
