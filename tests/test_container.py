import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.storage import container

TENSORS = {
    "a": torch.arange(6, dtype=torch.float32).view(2, 3),
    "count": torch.tensor(3),
    "empty": torch.zeros(0, 4),
    "half": torch.ones(2, dtype=torch.bfloat16),
    "mask": torch.tensor([True, False]),
}


def packed(kind: str = "stage") -> bytes:
    return container.pack(kind, {"x": 1}, TENSORS)


def test_round_trip_is_exact_and_bytes_are_reproducible() -> None:
    manifest, tensors = container.unpack(packed(), "stage", "f")
    assert manifest == {"x": 1}
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[n], TENSORS[n]) and tensors[n].dtype == TENSORS[n].dtype for n in TENSORS)
    assert packed() == packed()


def test_tied_weights_are_packed_as_two() -> None:
    shared = torch.ones(3)
    _, tensors = container.unpack(container.pack("stage", {}, {"a": shared, "b": shared.view(3, 1)}), "stage", "f")
    assert tensors["b"].shape == (3, 1)


def test_any_safetensors_tool_reads_the_tensors() -> None:
    assert torch.equal(load(packed())["a"], TENSORS["a"])


@pytest.mark.parametrize("cut", [0, 5, 8, 100, -1])
def test_truncated(cut: int) -> None:
    with pytest.raises(UsageError, match="f: .*(truncated|not a mosaic-fl file)"):
        container.unpack(packed()[:cut], "stage", "f")


def test_every_flipped_byte_of_the_tensors_is_found() -> None:
    data = bytearray(packed())
    data[-1] ^= 1
    with pytest.raises(UsageError, match="f: .*SHA-256"):
        container.unpack(bytes(data), "stage", "f")


def test_an_altered_manifest_is_found() -> None:
    data = packed().replace(rb"\\\"x\\\": 1", rb"\\\"x\\\": 2")
    assert data != packed()
    with pytest.raises(UsageError, match="SHA-256"):
        container.unpack(data, "stage", "f")


def resealed(**change: object) -> bytes:
    """A file with a correct hash whose content differs from what `pack` writes."""
    text = json.dumps({"format": "mosaic-fl", "version": 1, "kind": "stage", "manifest": {}, **change})
    digest = container._digest(text, {"a": TENSORS["a"]})
    return save({"a": TENSORS["a"]}, {"mosaic-fl": json.dumps({"content": text, "sha256": digest})})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "format version 2; this mosaic-fl reads 1"),
        ({"kind": "contribution"}, "holds a 'contribution', expected a 'stage'"),
        ({"format": "x"}, "not a mosaic-fl file"),
        ({"manifest": [1]}, "no manifest"),
    ],
)
def test_wrong_content(change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        container.unpack(resealed(**change), "stage", "f")


@pytest.mark.parametrize(
    "data", [b"", b"\x80\x04pickle", b"PK\x03\x04" * 10, b"\xff" * 100, save({"a": torch.ones(1)})]
)
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(UsageError, match="not a mosaic-fl file"):
        container.unpack(data, "stage", "f")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_values_are_neither_written_nor_read(value: float) -> None:
    broken = {"w": torch.tensor([1.0, value])}
    with pytest.raises(MosaicError, match="non-finite values in 'w'"):
        container.pack("stage", {}, broken)
    text = json.dumps({"format": "mosaic-fl", "version": 1, "kind": "stage", "manifest": {}})
    data = save(broken, {"mosaic-fl": json.dumps({"content": text, "sha256": container._digest(text, broken)})})
    with pytest.raises(UsageError, match="non-finite values in 'w'"):
        container.unpack(data, "stage", "f")


@pytest.mark.parametrize("kind", [torch.int32, torch.float64])
def test_types_that_are_not_read_are_not_written(kind: torch.dtype) -> None:
    with pytest.raises(MosaicError, match=rf"this file format cannot hold: 'w' is {kind}"):
        container.pack("stage", {}, {"w": torch.ones(2, dtype=kind)})


def test_a_tensor_of_more_dimensions_than_arrays_have_is_refused() -> None:
    # numpy, by which bytes within a tensor are taken out, stops at 64.
    with pytest.raises(MosaicError, match="'w' has 17 dimensions"):
        container.pack("stage", {}, {"w": torch.ones((1,) * 17)})
    content, tensor = (
        json.dumps({"format": "mosaic-fl", "version": 1, "kind": "stage", "manifest": {}}),
        torch.ones((1,) * 70),
    )
    envelope = {"content": content, "sha256": container._digest(content, {"w": tensor})}
    with pytest.raises(UsageError, match="'w' has 70 dimensions"):
        container.unpack(save({"w": tensor}, {"mosaic-fl": json.dumps(envelope)}), "stage", "x")


def test_half_a_character_in_the_manifest_is_refused() -> None:
    text = json.dumps({"format": "mosaic-fl", "version": 1, "kind": "stage", "manifest": {}, "x": "y"})
    envelope = json.dumps({"content": text.replace("y", "\ud800"), "sha256": "0"})
    with pytest.raises(UsageError, match="not a mosaic-fl file"):
        container.unpack(save({"a": TENSORS["a"]}, {"mosaic-fl": envelope}), "stage", "f")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*nowhere"):
        container.read(tmp_path / "nowhere", "stage")


def test_a_deeply_nested_header_is_refused() -> None:
    header = b"[" * 100_000
    with pytest.raises(UsageError, match="not a mosaic-fl file"):
        container.unpack(len(header).to_bytes(8, "little") + header, "stage", "f")


def test_half_a_character_within_the_manifest_is_refused() -> None:
    assert container.unpack(container.pack("stage", {"a": "\U0001f431"}, {}), "stage", "x")[0] == {"a": "\U0001f431"}
    with pytest.raises(UsageError, match="its manifest is not JSON"):
        container.unpack(container.pack("stage", {"a": "\ud800"}, {}), "stage", "x")
