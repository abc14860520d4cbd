"""Weights that stay in their files: as they were, one file at a time, and nothing else is believed."""

import weakref
from pathlib import Path

import pytest
import torch

from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.engines.parcel import Parcel
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange import filed
from mosaic_fl.exchange.contribution import Contribution, no_prototypes
from mosaic_fl.exchange.filed import FiledWeights
from mosaic_fl.generators.base import GeneratorSpec
from mosaic_fl.generators.base import build as build_generator
from mosaic_fl.models import build
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.runs.received import read_contributions
from mosaic_fl.server.trust.copies import sharers
from mosaic_fl.storage.encryption import encrypt
from mosaic_fl.storage.files import sha256, sha256_of_each
from mosaic_fl.storage.keys import PrivateKey, make_key, read_key

SCHEMA = image_schema((1, 8, 8), ("a", "b"))
SPEC = GeneratorSpec("cvae", 4, 4)


def contribution(client: int) -> Contribution:
    torch.manual_seed(client)
    return Contribution(
        client=client,
        schema=SCHEMA,
        architecture="mlp:8",
        expert=copy_state(build("mlp:8", SCHEMA)),
        class_counts=torch.tensor([3, 4]),
        prototypes=no_prototypes(),
        validation={},
        generator_spec=SPEC if client else None,
        generator=copy_state(build_generator(SPEC, SCHEMA)) if client else None,
    )


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """The files of three clients, of which the first has no generator."""
    files = [tmp_path / f"{client}.contribution" for client in range(3)]
    for client, path in enumerate(files):
        path.write_bytes(contribution(client).to_bytes())
    return files


def test_filed_contributions_are_those_that_were_sent(paths: list[Path]) -> None:
    received = read_contributions(paths)
    assert [c.to_bytes() for c in received] == [path.read_bytes() for path in paths]
    assert [c.generator is None for c in received] == [True, False, False]
    assert sharers(received) == [1, 1, 1]
    whole = Contribution.load(paths[1])
    expert = received[1].build_network().state_dict()
    assert all(torch.equal(expert[name], tensor) for name, tensor in whole.expert.items())
    generator = received[1].build_generator()
    assert generator is not None
    assert whole.generator is not None
    assert all(torch.equal(tensor, whole.generator[name]) for name, tensor in generator.state_dict().items())


def test_the_weights_of_one_file_at_a_time_are_in_memory(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    received = read_contributions(paths)
    read = list[str]()
    read_bytes = filed.read_bytes

    def counted(path: Path, key: PrivateKey | None) -> bytes:
        read.append(path.name)
        return read_bytes(path, key)

    monkeypatch.setattr(filed, "read_bytes", counted)
    name = next(iter(received[1].expert))
    first = weakref.ref(received[1].expert[name])
    assert received[1].expert[name] is first()
    assert received[1].generator
    assert dict(received[1].generator)
    assert read == ["1.contribution"]
    assert dict(received[2].expert)
    assert first() is None
    assert dict(received[1].expert)
    assert read == ["1.contribution", "2.contribution", "1.contribution"]


@pytest.mark.parametrize("part", ["expert", "generator"])
def test_a_file_that_has_changed_since_it_was_read_is_not_believed(paths: list[Path], part: str) -> None:
    received = read_contributions(paths)
    paths[1].write_bytes(contribution(7).to_bytes())  # whole and valid, but not what was checked
    with pytest.raises(UsageError, match=r"1\.contribution has changed since it was read: put it back, or begin anew"):
        dict(getattr(received[1], part))
    paths[1].unlink()
    with pytest.raises(UsageError, match=r"cannot read .*1\.contribution"):
        received[1].build_expert()
    paths[1].write_bytes(contribution(1).to_bytes())
    assert received[1].build_expert()


def test_encrypted_ones_are_read_again_by_their_key(paths: list[Path], tmp_path: Path) -> None:
    reader = make_key(tmp_path / "key")
    paths[1].write_bytes(encrypt(paths[1].read_bytes(), [reader]))
    received = read_contributions(paths, read_key(tmp_path / "key"))
    assert dict(received[2].expert)
    assert received[1].to_bytes() == contribution(1).to_bytes()


def test_another_process_gets_the_weights_themselves(paths: list[Path]) -> None:
    make, content = Parcel(read_contributions(paths)[2].expert).__reduce__()
    expert = make(*content)
    assert type(expert) is dict
    assert all(torch.equal(expert[name], tensor) for name, tensor in contribution(2).expert.items())


def test_a_hash_of_parts_that_are_made_as_they_are_asked_is_that_of_all() -> None:
    assert sha256_of_each(part for part in (b"a", b"bc")) == sha256(b"a", b"bc") != sha256(b"ab", b"c")


def test_filed_weights_are_a_mapping_of_their_names(paths: list[Path]) -> None:
    weights = read_contributions(paths)[2].expert
    assert isinstance(weights, FiledWeights)
    assert len(weights) == len(dict(weights)) == len(contribution(2).expert)
    with pytest.raises(KeyError):
        weights["of another model"]
