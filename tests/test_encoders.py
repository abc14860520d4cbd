"""Public encoders by name: the same vector whatever comes with it, digests, and names that are refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional as F

from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.image import Image
from mosaic_fl.domains.image.prior.procedural import drawings
from mosaic_fl.domains.kind import Kind
from mosaic_fl.domains.vector import Vector
from mosaic_fl.encoders import efficientnet, gabor, making, naming
from mosaic_fl.encoders.encoding import encode, encode_by_name
from mosaic_fl.encoders.making_strokes import _drawings, strokes_file
from mosaic_fl.encoders.naming import encoder_of, make_encoder, trained_on
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.notes import Note
from onnx_models import constant, graph, model, node
from table_cases import SCHEMA, patients

DIGITS = Image((1, 8, 8))
LITE0 = "efficientnet-lite0:32"


@pytest.fixture(autouse=True)
def _none_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Encoders are made anew, and what they keep is in a folder of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    naming._made.cache_clear()
    yield
    naming._made.cache_clear()


class Sums(nn.Module):
    """A user's own: the sum of the pixels and a weight times it."""

    trained_on = "my photographs"

    def __init__(self, weight: float = 2.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, inputs: Tensor) -> Tensor:
        sums = inputs.flatten(1).sum(1)
        return torch.stack([sums, self.weight * sums], 1)


class Others(Sums):
    """Of another weight."""

    def __init__(self) -> None:
        super().__init__(3.0)


class Infinite(Sums):
    """Divides by zero for a white picture."""

    def forward(self, inputs: Tensor) -> Tensor:
        return 1 / (inputs.flatten(1)[:, :2] - 1)


OWN = f"{__name__}:Sums"


def pictures(count: int, kind: Image, seed: int = 0) -> Tensor:
    return drawings(count, kind.shape, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("gabor", DIGITS),
        ("gabor:256", Image((3, 40, 30))),
        (LITE0, Image((3, 20, 20))),
        ("strokes", Image((1, 28, 28))),
        (OWN, DIGITS),
    ],
)
def test_a_vector_does_not_depend_on_what_comes_with_it(name: str, kind: Image) -> None:
    encoder = make_encoder(name, kind)
    values = pictures(70, kind)
    vectors = encoder.vectors(values)
    assert (vectors.dtype, tuple(vectors.shape)) == (torch.float32, (70, encoder.size))
    assert torch.equal(vectors, torch.cat([encoder.vectors(part) for part in values.split(33)]))
    assert torch.equal(vectors[5:6], encoder.vectors(values[5:6]))
    order = torch.arange(69, -1, -1)
    assert torch.equal(vectors[order], encoder.vectors(values[order]))
    assert encoder.vectors(values[:0]).shape == (0, encoder.size)
    assert encoder.kind == Vector(encoder.size, name, encoder.digest, kind)


def test_gabor_s_numbers_are_uncorrelated_with_variance_1_over_drawings() -> None:
    vectors = make_encoder("gabor", Image((1, 32, 32))).vectors(pictures(1000, Image((1, 32, 32)), seed=9))
    assert torch.allclose(vectors.std(0).mean(), torch.tensor(1.0), atol=0.05)
    assert vectors.mean(0).abs().mean() < 0.1
    correlations = torch.corrcoef(vectors.T) - torch.eye(128)
    assert correlations.abs().mean() < 0.05


def test_gabor_s_file_is_made_again_bit_for_bit() -> None:
    ours = load(gabor._content())
    again = load(making.gabor_file())
    assert ours.keys() == again.keys()
    for name, tensor in ours.items():  # float16: another machine may sum in another order
        assert torch.allclose(tensor.float(), again[name].float(), rtol=2e-3, atol=2e-3)


def test_the_autoencoder_of_drawings_is_trained_the_same_each_time() -> None:
    first = strokes_file(drawings=500, steps=3)
    assert strokes_file(drawings=500, steps=3) == first
    assert strokes_file(drawings=500, steps=4) != first


@pytest.mark.parametrize("kind", [Image((1, 28, 28)), Image((3, 20, 30))])
def test_drawings_come_back_from_their_codes(kind: Image) -> None:
    """A black picture would be wrong by the mean of the drawings, 0.15 to 0.2."""
    encoder = make_encoder("strokes", kind)
    square = _drawings(100, torch.Generator().manual_seed(77)).view(-1, 1, 28, 28)
    values = F.interpolate(square, kind.shape[1:]).expand(-1, kind.shape[0], -1, -1)
    assert encoder.decode is not None
    again = encoder.decode(encoder.vectors(values))
    kind.check(again)
    assert (again.float() - values.float()).abs().mean() / 255 < 0.06


def test_the_first_components_are_those_of_a_longer_vector() -> None:
    values = pictures(3, DIGITS)
    few = make_encoder("gabor:5", DIGITS).vectors(values)
    assert torch.allclose(few, make_encoder("gabor", DIGITS).vectors(values)[:, :5], atol=1e-4)


def test_a_blank_picture_has_a_finite_vector() -> None:
    for value in (0, 255):
        assert (
            make_encoder("gabor", DIGITS).vectors(torch.full((1, 1, 8, 8), value, dtype=torch.uint8)).isfinite().all()
        )


def test_digests_tell_weights_versions_and_settings_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("gabor", "gabor:64", LITE0, "efficientnet-lite0", OWN, f"{__name__}:Others")
    digests = [make_encoder(name, DIGITS).digest for name in names]
    assert len(set(digests)) == len(names)
    naming._made.cache_clear()
    assert [make_encoder(name, DIGITS).digest for name in names] == digests
    naming._made.cache_clear()
    monkeypatch.setattr(gabor, "_content", lambda: b"other weights")
    assert make_encoder("gabor", DIGITS).digest != digests[0]


def test_auto_suits_the_samples() -> None:
    assert make_encoder("auto", DIGITS).name == "gabor"
    assert make_encoder("auto", Image((3, 8, 8))).name == "efficientnet-lite0"
    assert make_encoder("auto", SCHEMA.kind).name == "encoding"
    with pytest.raises(UsageError, match=r"the data are vectors of 3 numbers already: leave out the encoder auto"):
        make_encoder("auto", Vector(3))


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("nowhere", DIGITS, "unknown encoder 'nowhere'"),
        ("gabor:0", DIGITS, r"after the colon is a number, 1\.\.256"),
        ("gabor:1e2", DIGITS, "after the colon is a number"),
        ("gabor:٣", DIGITS, "after the colon is a number"),
        ("efficientnet-lite0:x+gabor", DIGITS, r"after the colon is a number, 32\.\.512"),
        ("efficientnet-lite0:9999", DIGITS, r"after the colon is a number, 32\.\.512"),
        ("encoding", DIGITS, "takes samples of the kind table, and these are 1×8×8 images"),
        ("gabor", SCHEMA.kind, "takes samples of the kind image, and these are rows of 4 columns"),
        ("gabor", Image((4, 8, 8)), "takes images of 1 or 3 channels, and these are 4×8×8 images"),
        ("timm:resnet18", DIGITS, r"needs timm, which is not installed: pip install 'mosaic-fl\[timm\]'"),
        ("absent.package:factory", DIGITS, "cannot be imported"),
        (f"{__name__}:pictures", DIGITS, "failed when called with nothing"),
        (f"{__name__}:Path", DIGITS, "not an nn.Module"),
        ("absent.onnx", DIGITS, "absent.onnx"),
    ],
)
def test_names_that_cannot_be_used_are_refused_in_one_line(name: str, kind: Kind, message: str) -> None:
    if name.startswith("timm"):
        try:
            import timm  # noqa: F401
        except ImportError:
            pass
        else:
            pytest.skip("timm is installed")
    with pytest.raises(UsageError, match=message) as caught:
        make_encoder(name, kind)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [OWN, "timm:resnet18", "onnx:abc", "os:system", "onnx", "module:x", "x" * 200])
def test_a_received_name_reads_no_file_and_imports_nothing(name: str) -> None:
    with pytest.raises(UsageError, match="is not built in: name the same one here, by --encoder"):
        encoder_of(Vector(2, name, "ab" * 32, DIGITS))
    assert trained_on(Vector(2, name, "ab" * 32, DIGITS))


def test_an_encoder_named_here_must_be_the_one_of_the_vectors() -> None:
    kind = make_encoder(OWN, DIGITS).kind
    assert encoder_of(kind, OWN).kind == kind
    assert trained_on(kind) == encoder_of(kind, OWN).trained_on == "my photographs"
    with pytest.raises(UsageError, match="vectors of encoder .*Others, not of encoder .*Sums: use the same one"):
        encoder_of(kind, f"{__name__}:Others")
    old = Vector(128, "gabor", "ab" * 32, DIGITS)
    with pytest.raises(UsageError, match="not abababababab: another version, or other weights: use the same one"):
        encoder_of(old)
    with pytest.raises(UsageError, match="that no public encoder made"):
        encoder_of(Vector(3))


def test_vectors_that_are_not_finite_are_refused_with_their_sample() -> None:
    values = torch.zeros(40, 1, 8, 8, dtype=torch.uint8)
    values[37] = 255
    with pytest.raises(UsageError, match="gives sample 37 a vector that is not finite"):
        make_encoder(f"{__name__}:Infinite", DIGITS).vectors(values)


def test_rows_are_encoded_as_networks_take_them_and_decoded() -> None:
    data = patients(50)
    encoder = make_encoder("encoding", data.schema.kind)
    encoded = encode(data, encoder)
    assert torch.equal(encoded.samples.only, data.samples.inputs())
    assert torch.equal(encoded.labels, data.labels)
    assert encoder.decode is not None
    assert torch.allclose(encoder.decode(encoded.samples.only), data.samples.only, equal_nan=True, atol=1e-4)


def test_data_of_another_kind_are_refused(digits: Dataset) -> None:
    with pytest.raises(UsageError, match="encoder gabor takes 1×28×28 images"):
        encode(digits, make_encoder("gabor", Image((1, 28, 28))))
    assert encode_by_name(digits, "") is digits


def test_an_onnx_file_is_run_in_its_own_process(tmp_path: Path, digits: Dataset) -> None:
    weights = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
    nodes = [node("MatMul", ["x", "w"], ["y"])]
    made = model(graph(nodes, [constant("w", weights.numpy())], gives=(None, 5)))
    file = tmp_path / "mine.onnx"
    file.write_bytes(made.SerializeToString())
    encoder = make_encoder(str(file), digits.schema.kind)
    vectors = encode(digits, encoder).samples.only[:100]
    expected = digits.samples.inputs()
    assert isinstance(expected, Tensor)
    assert torch.allclose(vectors, expected[:100].flatten(1) @ weights, atol=1e-5)
    assert encoder.name == f"onnx:{encoder.name.removeprefix('onnx:')}"
    (tmp_path / "hostile.onnx").write_bytes(b"no model")
    with pytest.raises(UsageError, match="hostile.onnx: the ONNX model is not ONNX, or truncated"):
        make_encoder(str(tmp_path / "hostile.onnx"), digits.schema.kind)


class TestEfficientNet:
    """Its weights are converted once; whatever is in the cache, they are the same."""

    def test_a_damaged_cache_is_made_again(self, tmp_path: Path) -> None:
        efficientnet._network.cache_clear()
        values = pictures(2, DIGITS)
        vectors = make_encoder(LITE0, DIGITS).vectors(values)
        (cached,) = (tmp_path / "cache" / "mosaic-fl").iterdir()
        content = cached.read_bytes()
        for damage in (content[:-1] + b"x", content[:1000], b""):
            cached.write_bytes(damage)
            efficientnet._network.cache_clear()
            naming._made.cache_clear()
            assert torch.equal(make_encoder(LITE0, DIGITS).vectors(values), vectors)
            assert cached.read_bytes() == content

    def test_a_cache_that_cannot_be_written_is_told(self, tmp_path: Path) -> None:
        efficientnet._network.cache_clear()
        (tmp_path / "cache").write_bytes(b"a file, no folder")
        with pytest.warns(Note, match="the weights of efficientnet-lite0 are not kept for the next time"):
            make_encoder(LITE0, DIGITS).vectors(pictures(1, DIGITS))

    def test_another_file_of_weights_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        efficientnet._network.cache_clear()
        monkeypatch.setattr(efficientnet, "FILE", "ab" * 32)
        with pytest.raises(MosaicError, match="is not the file of weights that efficientnet-lite0 is made of"):
            make_encoder(LITE0, DIGITS)

    def test_the_network_is_that_of_its_authors_package(self) -> None:
        """Numbers of `efficientnet-lite-pytorch` 0.1.0, by which earlier versions of mosaic-fl made vectors."""
        values = (torch.arange(1200) % 251).to(torch.uint8).view(1, 3, 20, 20)
        (vector,) = make_encoder("efficientnet-lite0:33", Image((3, 20, 20))).vectors(values)  # an odd side
        assert torch.allclose(vector[:3], torch.tensor([4.7434978, 3.4402180, 2.4097133]), atol=1e-4)
        assert torch.allclose(vector[-2:], torch.tensor([1.6500300, -4.6352158]), atol=1e-4)
        assert float(vector.norm()) == pytest.approx(141.28136, abs=1e-3)

    def test_a_picture_and_its_mirror_image_have_one_vector(self) -> None:
        values = pictures(3, DIGITS)
        encoder = make_encoder(LITE0, DIGITS)
        assert torch.allclose(encoder.vectors(values), encoder.vectors(values.flip(3)), atol=1e-4)
