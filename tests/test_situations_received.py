"""What the reader of a contribution says of small files that claim too much, or claim what cannot be."""

from pathlib import Path

import pytest
import torch

from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import KIND, Contribution, Prototypes
from mosaic_fl.exchange.trial import Trial
from mosaic_fl.generators.base import GeneratorSpec
from mosaic_fl.generators.base import build as build_generator
from mosaic_fl.models import build
from mosaic_fl.models.registry import outline
from mosaic_fl.report.tables import class_table
from mosaic_fl.storage import container


def sealed(
    name: str,
    shape: tuple[int, int, int],
    classes: int,
    generator: tuple[str, int, int] | None = None,
    **changes,
) -> bytes:
    """A small contribution of zeros whose weights fit what it says, with these `changes` of its manifest."""
    schema = image_schema(shape, tuple(map(str, range(classes))))
    with torch.device("meta"):
        networks = {"expert": _module(name, schema)}
        if generator:
            networks["generator"] = build_generator(GeneratorSpec(*generator), schema)
    tensors = {
        f"{part}/{key}": torch.zeros(t.shape, dtype=t.dtype)
        for part, network in networks.items()
        for key, t in network.state_dict().items()
    }
    none = torch.zeros(0, dtype=torch.int64)
    tensors |= {"prototypes/features": torch.zeros(0, 1), "prototypes/labels": none, "prototypes/sizes": none.clone()}
    tensors["class_counts"] = torch.ones(classes, dtype=torch.int64)
    spec = dict(zip(("family", "latent", "width"), generator, strict=True)) if generator else None
    manifest = {"client": 0, "schema": schema.to_json(), "architecture": name, "validation": {"samples": 1}}
    return container.pack(KIND, manifest | {"generator": spec, "generator_note": "x"} | changes, tensors)


def _module(name: str, schema: Schema) -> torch.nn.Module:
    from mosaic_fl.models.registry import _make  # without the bound that is tested

    return _make(name, schema)


@pytest.mark.parametrize(
    ("architecture", "largest"),
    [("cnn:128:1", 128 * 2**20), ("cnn:255:1", 255 * 2**20)],
    ids=["24 kB asked for 512 MiB an image", "303 kB asked for 17 GB"],
)
def test_a_small_file_cannot_ask_for_large_maps(architecture: str, largest: int) -> None:
    data = sealed(architecture, (1, 1024, 1024), 16)
    assert len(data) < 400_000
    with pytest.raises(UsageError, match=f"a layer gives {largest:,} values a sample: at most 6[78],"):
        Contribution.from_bytes(data)


def test_of_a_costly_network_only_a_few_images_are_tried() -> None:
    schema = image_schema((1, 1024, 1024), tuple(map(str, range(1000))))
    trial = Trial.of(schema, "cnn:1:1", GeneratorSpec("dcgan", 1, 1))
    images, at_once = trial.images(117_132)  # bytes; it took 88 s
    assert 1 <= images <= 10
    assert at_once * max(trial.expert.largest, trial.generator.largest) <= 2**20 + 117_132 // 8
    Contribution.from_bytes(sealed("cnn:1:1", (1, 1024, 1024), 1000, ("dcgan", 1, 1)))
    # Of one whose maps are too large, none.
    wide = image_schema((16, 1024, 1024), ("a", "b"))
    assert Trial.of(wide, "cnn:1:1", GeneratorSpec("dcgan", 1, 1)).images(100_000)[0] == 0
    Contribution.from_bytes(sealed("cnn:1:1", wide.shape, 2, ("dcgan", 1, 1)))
    # Of a cheap one every class is tried.
    assert (
        Trial.of(image_schema((1, 8, 8), tuple("0123456789")), "cnn:8", GeneratorSpec("dcgan", 4, 8)).images(60_000)[0]
        == 10
    )


@pytest.mark.parametrize(
    ("architecture", "side"),
    [
        ("resnet50", 224), ("resnet50", 1024), ("resnet18", 1024), ("vit:64", 224), ("vit:1024:24", 224),
        ("cnn:64:3", 64), ("cnn:64:3", 224), ("cnn:16:3", 1024), ("lenet", 32), ("mlp:8192:2", 32), ("resnet20", 1024),
    ],
)  # fmt: skip
def test_what_people_train_is_within_the_bounds(architecture: str, side: int) -> None:
    assert outline(architecture, image_schema((3, side, side), tuple("0123456789"))).work.operations > 0


@pytest.mark.parametrize(("family", "side", "width"), [("dcgan", 224, 64), ("cvae", 224, 64), ("cdcgan", 64, 64)])
def test_generators_that_people_train_are_within_the_bounds(family: str, side: int, width: int) -> None:
    schema = image_schema((3, side, side), tuple("0123456789"))
    assert Trial.of(schema, "mlp:1:1", GeneratorSpec(family, 100, width)).generator.operations > 0
    assert Trial.of(image_schema((3, 64, 64), ("a", "b")), "mlp:1:1", GeneratorSpec("flow", 3 * 64 * 64, 64)).images(
        10**8
    )[0]


def test_two_classes_of_one_name_are_refused() -> None:
    schema = {"kind": "image", "shape": [1, 4, 4], "classes": ["a", "a"], "range": [0, 255]}
    with pytest.raises(UsageError, match="class name 'a' is there twice"):
        Contribution.from_bytes(sealed("mlp:1:1", (1, 4, 4), 2, schema=schema))


def test_markup_in_a_name_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    names = ("[red]x[/red]", "[/]")
    schema = {"kind": "image", "shape": [1, 4, 4], "classes": list(names), "range": [0, 255]}
    made = Contribution.from_bytes(sealed("mlp:1:1", (1, 4, 4), 2, schema=schema))
    Console(width=100).print(class_table(torch.tensor([[1, 2]]), made.schema.classes))
    shown = capsys.readouterr().out
    assert all(name in shown for name in names)


def test_a_name_that_is_there_twice_in_the_header_is_refused() -> None:
    data = sealed("mlp:1:1", (1, 4, 4), 2)
    size = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + size].rstrip()
    twice = header[:-1] + b',"__metadata__":{}}'
    with pytest.raises(UsageError, match="not a mosaic-fl file"):
        Contribution.from_bytes(len(twice).to_bytes(8, "little") + twice + data[8 + size :])


def test_a_long_unknown_name_is_told_in_a_short_line() -> None:
    # Names were compared with the known ones letter by letter, in a time that grows with their length.
    for changes in ({"generator": {"family": "x" * 10**6, "latent": 1, "width": 1}}, {"architecture": "x" * 10**6}):
        with pytest.raises(UsageError) as error:
            Contribution.from_bytes(sealed("mlp:1:1", (1, 4, 4), 2, **changes))
        assert len(str(error.value)) < 500


def test_a_contribution_of_one_s_own_is_still_read(tmp_path: Path) -> None:
    schema = image_schema((1, 8, 8), ("a", "b", "c"))
    expert = build("cnn:4", schema)
    none = torch.zeros(0, dtype=torch.int64)
    rows = Prototypes(torch.zeros(0, 1), none, none)
    made = Contribution(3, schema, "cnn:4", expert.state_dict(), torch.tensor([1, 0, 2]), rows, {"samples": 1})
    (tmp_path / "x").write_bytes(made.to_bytes())
    assert Contribution.load(tmp_path / "x").to_bytes() == made.to_bytes()
