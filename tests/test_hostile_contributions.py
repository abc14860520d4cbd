"""Contributions that ask for too much end at their limits of memory and time, named; the next one is read."""

import json
import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from command import QUICK, fails
from mosaic_fl.domains.image import Image
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.vector import Vector
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange import probing
from mosaic_fl.exchange.contribution import KIND, Contribution
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.generators.base import GeneratorSpec
from mosaic_fl.generators.base import build as build_generator
from mosaic_fl.models.registry import build
from mosaic_fl.notes import Note
from mosaic_fl.numerics.confined import Bounds
from mosaic_fl.storage import container
from mosaic_fl.storage.header import MAX_HEADER

PATIENCE = 40.0  # seconds on a busy machine, of at most 2 of processor time
NO_LABELS = torch.zeros(0, dtype=torch.int64)
SMALL = image_schema((1, 8, 8), ("a", "b"))


def sealed(
    schema: Schema,
    architecture: str = "mlp:1:1",
    expert: dict[str, Tensor] | None = None,
    spec: GeneratorSpec | None = None,
    generator: dict[str, Tensor] | None = None,
    generator_json: object = None,
) -> bytes:
    """A contribution of client 7 with zeros for weights, where none are given."""
    with torch.device("meta"):
        if expert is None:
            expert = zeros(build(architecture, schema).state_dict())
        if spec is not None and generator is None:
            generator = zeros(build_generator(spec, schema).state_dict())
    fields, classes = len(schema.fields), schema.num_classes
    tensors = {
        "class_counts": torch.ones(classes, dtype=torch.int64),
        "prototypes/features": torch.zeros(0, 1),
        "prototypes/labels": NO_LABELS,
        "prototypes/sizes": NO_LABELS,
        **({"field_counts": torch.ones(fields, classes, dtype=torch.int64)} if schema.joins else {}),
        **{f"expert/{name}": tensor for name, tensor in expert.items()},
        **{f"generator/{name}": tensor for name, tensor in (generator or {}).items()},
    }
    manifest = {
        "client": 7,
        "schema": schema.to_json(),
        "architecture": architecture,
        "validation": {},
        "generator": spec.to_json() if spec else generator_json,
        "generator_note": "",
    }
    return container.pack(KIND, manifest, tensors)


def zeros(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.zeros(tensor.shape, dtype=tensor.dtype, device="cpu") for name, tensor in state.items()}


def raw(header: object, data: bytes = b"") -> bytes:
    """A file of safetensors with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def claiming(**entries: object) -> bytes:
    """A file whose header claims these tensors, beside a manifest that nobody comes to read."""
    content = json.dumps({"format": "mosaic-fl", "version": 1, "kind": KIND, "manifest": {}})
    metadata = {"mosaic-fl": json.dumps({"content": content, "sha256": "0" * 64})}
    return raw({"__metadata__": metadata, **entries}, bytes(8))


def tensor(dtype: str, shape: list[int], end: int) -> dict[str, object]:
    """What a header says of one tensor."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}


def large_pictures() -> bytes:
    """A schema of pictures of 2⁴⁰ pixels."""
    manifest, tensors = container.unpack(sealed(SMALL), KIND, "x")
    return container.pack(KIND, manifest | {"schema": manifest["schema"] | {"shape": [1, 2**20, 2**20]}}, tensors)


def many_parts() -> bytes:
    """A product of 40 merged generators of 256 members: 10,240 networks to build, in a file of 0.7 MB."""
    schema = Schema({f"f{k}": Image((1, 8, 8)) for k in range(40)}, ("a", "b"))
    merged = GeneratorSpec("merged", 2, 1, (GeneratorSpec("cvae", 1, 1),) * 256)
    spec = GeneratorSpec("product", 80, 1, (merged,) * 40, tuple(sorted(schema.fields)))
    return sealed(schema, "fusion:1", spec=spec, generator={"a": torch.zeros(1)})


def lists(count: int) -> bytes:
    """Trees of lists within lists, which have 3 bytes in JSON and 64 in memory."""
    text = b"[" + b"[]," * count + b"[]]"
    return sealed(SMALL, "boosted_trees", {"json": torch.frombuffer(bytearray(text), dtype=torch.uint8)})


def covariance() -> bytes:
    """2,048 × 2,048 numbers of which none is a square: whether they can be is a decomposition."""
    schema = Schema({"vector": Vector(2048, "x", "0" * 64, Image((1, 8, 8)))}, ("a", "b"))
    spec = GeneratorSpec("moments", 2048, 2)
    with torch.device("meta"):
        state = zeros(build_generator(spec, schema).state_dict())
    state["counts"] += 50
    state["scatter"] -= 1.0
    return sealed(schema, "linear", spec=spec, generator=state)


def endless_network() -> bytes:
    """4 MB of weights that need 330 billion operations, and 20 maps of 128 MiB, for one picture."""
    return sealed(image_schema((1, 1024, 1024), ("a", "b")), "resnet20:32")


def slow_generator() -> bytes:
    """A flow takes 16 passes of its network for one picture."""
    return sealed(image_schema((3, 64, 64), ("a", "b")), spec=GeneratorSpec("flow", 3 * 64 * 64, 96))


TIME = "building its networks and trying one sample takes more than"
MEMORY = "building its networks and trying one sample needs more than"
HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "a network that runs for long": (endless_network, TIME),
    "a generator that is slow": (slow_generator, TIME),
    "thousands of generators": (many_parts, TIME),
    "trees of five million lists": (lambda: lists(5_000_000), "5,000,002 lists, where 4,194,304 are the most"),
    "trees that are lists of lists": (lambda: lists(1_400_000), f"these are no boosted trees|{TIME}|{MEMORY}"),
    "a covariance that is none": (covariance, "have a negative variance"),
    "10,000 layers": (lambda: sealed(SMALL, "mlp:64:10000", {}), "depth '10000' is not a number in 1..8"),
    "an enormous width": (lambda: sealed(SMALL, "cnn:999999", {}), "width '999999' is not a number in 1..1024"),
    "a name of 10,000 numbers": (lambda: sealed(SMALL, "mlp" + ":8" * 10_000, {}), "a model name of 20003 characters"),
    "wide layers without weights": (lambda: sealed(SMALL, "mlp:8192:8", {}), "' is missing"),
    "a latent of 2³¹": (
        lambda: sealed(SMALL, generator_json={"family": "cvae", "latent": 2**31, "width": 1}), "latent 2147483648",
    ),
    "a product with a latent of 2³¹": (
        lambda: sealed(SMALL, generator_json={
            "family": "product", "latent": 2**31, "width": 1, "fields": ["image"],
            "members": [{"family": "cvae", "latent": 1024, "width": 1}],
        }), "latent 2147483648 must be that of all its members",
    ),
    "pictures of 2⁴⁰ pixels": (large_pictures, r"image shape \(1, 1048576, 1048576\) is out of bounds"),
    "40,000 tensors": (
        lambda: claiming(**{f"{k:x}": tensor("U8", [0], 0) for k in range(40_000)}),
        "40,000 tensors; at most 32,768 are read",
    ),
    "a header of 2⁶³ bytes": (lambda: (2**63).to_bytes(8, "little") + b"{}", "not a mosaic-fl file"),
    "a header longer than the file": (lambda: raw(b"{}")[:9], "truncated"),
    "a header that is too long": (lambda: raw(b" " * (MAX_HEADER + 1)), "not a mosaic-fl file"),
    "JSON without an end": (lambda: raw(b'{"__metadata__":' + b"[" * 10**6), "not a mosaic-fl file"),
    "a million empty lists": (
        lambda: raw(b'{"__metadata__":[' + b"[]," * 2**20 + b"0]}"), "a header of 1,048,578 lists",
    ),
    "a tensor beyond the file": (lambda: claiming(a=tensor("F32", [2**40], 2**42)), "truncated or damaged"),
    "two tensors of the same bytes": (
        lambda: claiming(a=tensor("F32", [2], 8), b=tensor("F32", [2], 8)), "truncated or damaged",
    ),
    "a tensor of another size than its type": (lambda: claiming(a=tensor("F64", [2], 8)), "truncated or damaged"),
    "a size beyond 2⁶⁴": (lambda: claiming(a=tensor("U8", [2**40, 2**40], 8)), "truncated or damaged"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second of processor time in place of 8, and more patience by the clock."""
    monkeypatch.setattr(probing, "SECONDS", 0.5)
    monkeypatch.setattr(probing, "BYTES_A_SECOND", 2**40)
    monkeypatch.setattr(probing, "Bounds", lambda memory, seconds: Bounds(memory, seconds, patience=40.0))


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_contribution_is_named_within_its_limits(case: str) -> None:
    make, reason = HOSTILE[case]
    content = make()
    before = _peak(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    with pytest.raises(UsageError, match=f"^from 7: .*({reason})") as refusal:
        Contribution.from_bytes(content, "from 7")
    assert time.monotonic() - start < PATIENCE
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 500
    own = 2**30 + 12 * len(content)  # beside what a fork shares with this process
    assert _peak(resource.RUSAGE_CHILDREN) <= max(before, _peak(resource.RUSAGE_SELF) + own)


def _peak(who: int) -> int:
    """Bytes of the largest process: this one, or one that it has started and that has ended."""
    return resource.getrusage(who).ru_maxrss * 2**10


def test_the_server_names_the_file_and_reads_the_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, evil = tmp_path / "good.contribution", tmp_path / "evil.contribution"
    good.write_bytes(sealed(SMALL))
    evil.write_bytes(many_parts())
    line = fails(capsys, "distill", evil, good, "--out", tmp_path / "global", *QUICK)
    assert line.startswith(f"{evil}: building its networks and trying one sample ")
    assert line.endswith(": send smaller ones")
    assert Contribution.load(good).client == 7


def test_a_costly_network_that_stays_within_the_limits_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is too costly to be tried in this process. One sample of it must have finite outputs."""
    monkeypatch.setattr(probing, "SECONDS", 8.0)
    schema = image_schema((16, 1024, 1024), ("a", "b"))
    state = zeros(build("cnn:1:1", schema).state_dict())
    assert Contribution.from_bytes(sealed(schema, "cnn:1:1", state)).client == 7
    broken = state | {"head.weight": torch.full_like(state["head.weight"], 3e38), "head.bias": torch.zeros(2)}
    name = next(name for name in state if name.endswith("running_var"))
    with pytest.raises(UsageError, match="its expert gives non-finite outputs"):
        Contribution.from_bytes(sealed(schema, "cnn:1:1", broken | {name: -torch.ones_like(state[name])}))


def test_a_global_model_has_the_same_limits() -> None:
    schema = image_schema((1, 1024, 1024), ("a", "b"))
    with torch.device("meta"):
        state = zeros(build("resnet20:32", schema).state_dict())
    content = GlobalModel("resnet20:32", schema, state).to_bytes()
    with pytest.raises(UsageError, match=f"^from 7: {TIME}"):
        GlobalModel.from_bytes(content, "from 7")


def test_where_no_process_has_limits_a_note_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "can_confine", lambda: False)
    with pytest.warns(Note, match="contribution of client 7 has costly networks, and only Linux has the process"):
        assert Contribution.from_bytes(endless_network()).client == 7
