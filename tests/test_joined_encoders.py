"""`gabor+strokes`: the vectors of several public encoders as one, by a name that sites send each other."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

import mosaic_fl
from command import fails, mosaic
from moments_cases import FEW, split_by_class
from mosaic_fl.config import Config
from mosaic_fl.data.export import save_parquet
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.image import Image
from mosaic_fl.domains.image.prior.procedural import drawings
from mosaic_fl.domains.vector import Vector
from mosaic_fl.encoders import naming
from mosaic_fl.encoders.clipping import clip_of
from mosaic_fl.encoders.encoding import encode
from mosaic_fl.encoders.naming import encoder_of, make_encoder, trained_on
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.server.feature_space import feature_space
from table_cases import SCHEMA

DIGITS = Image((1, 28, 28))
OWN = f"{__name__}:Sums"


class Sums(nn.Module):
    """A user's own encoder of two numbers."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.flatten(1)[:, :2]


@pytest.fixture(autouse=True)
def _none_in_memory() -> Iterator[None]:
    naming._made.cache_clear()
    yield
    naming._made.cache_clear()


def pictures(count: int) -> torch.Tensor:
    return DIGITS.prior("procedural", count, Stream(0, "pictures"))


def test_vectors_are_those_of_the_parts_scaled_to_one_public_length() -> None:
    values = pictures(300)  # more than a batch of each part
    joined = make_encoder("gabor:64+strokes", DIGITS)
    vectors = joined.vectors(values)
    assert joined.size == 64 + 32
    assert torch.equal(vectors[:, :64], make_encoder("gabor:64", DIGITS).vectors(values))
    # gabor:64 has the public length 0.8·√64 = 6.4, and strokes 4: the second part is scaled by 1.6.
    expected = 1.6 * make_encoder("strokes", DIGITS).vectors(values)
    assert torch.allclose(vectors[:, 64:], expected, rtol=1e-6)
    assert torch.equal(vectors[70:75], joined.vectors(values[70:75]))


def test_the_public_length_is_that_of_all_parts_together() -> None:
    kind = make_encoder("gabor:64+strokes", DIGITS).kind
    assert clip_of(kind, 0.0) == pytest.approx(6.4 * math.sqrt(2))
    assert clip_of(make_encoder("strokes+gabor:64", DIGITS).kind, 0.0) == pytest.approx(4 * math.sqrt(2))
    own = make_encoder(f"gabor:64+{OWN}", DIGITS)
    with pytest.raises(UsageError, match="no length is known to which encoder"):
        clip_of(own.kind, 0.0)
    assert torch.equal(own.vectors(pictures(3))[:, :64], make_encoder("gabor:64", DIGITS).vectors(pictures(3)))


def test_the_public_length_of_a_received_name_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match=r"after the colon is a number, 32\.\.512"):
        clip_of(Vector(928, "efficientnet-lite0:x", "ab" * 32, DIGITS), 0.0)


def test_it_decodes_as_the_part_that_can() -> None:
    values = pictures(20)
    alone = make_encoder("strokes", DIGITS)
    assert alone.decode is not None
    expected = alone.decode(alone.vectors(values)).int()
    for name in ("gabor+strokes", "strokes+gabor"):
        joined = make_encoder(name, DIGITS)
        assert joined.decode is not None
        assert int((joined.decode(joined.vectors(values)).int() - expected).abs().max()) <= 1
    assert make_encoder(f"gabor+{OWN}", DIGITS).decode is None


def test_its_digest_follows_from_the_parts() -> None:
    digests = [make_encoder(name, DIGITS).digest for name in ("gabor+strokes", "strokes+gabor", "gabor:64+strokes")]
    assert len(set(digests)) == 3
    assert make_encoder("gabor:128+strokes", DIGITS).kind == make_encoder("gabor+strokes", DIGITS).kind


def test_it_says_what_all_parts_were_trained_on() -> None:
    kind = make_encoder("gabor+strokes", DIGITS).kind
    assert trained_on(kind) == make_encoder("gabor+strokes", DIGITS).trained_on
    received = Vector(160, "gabor+strokes", "ab" * 32, DIGITS)  # of another version
    assert trained_on(received) == trained_on(kind)
    assert trained_on(kind).startswith("gabor: nothing")
    assert "strokes: procedural drawings" in trained_on(kind)
    assert trained_on(Vector(9, "gabor+os:system", "ab" * 32, DIGITS)).endswith("os:system: not told")


@pytest.mark.parametrize("name", [f"gabor+{OWN}", "gabor+timm:resnet18", "onnx:ab+gabor", "gabor:4+os:system"])
def test_a_received_name_makes_built_in_parts_alone(name: str) -> None:
    with pytest.raises(UsageError, match="is not built in: name the same one here, by --encoder"):
        encoder_of(Vector(2, name, "ab" * 32, DIGITS))


def test_a_received_name_of_built_in_parts_makes_the_encoder() -> None:
    kind = make_encoder("gabor:8+strokes", DIGITS).kind
    naming._made.cache_clear()
    assert encoder_of(kind).kind == kind


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gabor+gabor", "has 'gabor' twice: leave one out"),
        ("gabor+gabor:128", "has gabor twice: leave one out"),
        ("gabor+", "has an empty part"),
        ("+gabor", "has an empty part"),
        ("gabor++strokes", "has an empty part"),
        ("gabor+encoding", "encoder encoding takes samples of the kind table, and these are 1×28×28 images"),
        ("gabor+auto", "unknown encoder 'auto'"),
        ("gabor+nowhere", "unknown encoder 'nowhere'"),
        ("gabor:1+gabor:2+gabor:3+gabor:4+gabor:5", "joins 5 encoders: at most 4"),
        ("gabor+absent.onnx", "absent.onnx"),
        ("a+b.onnx", r"a\+b\.onnx"),  # a file
    ],
)
def test_names_that_cannot_be_used_are_refused_in_one_line(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        make_encoder(name, DIGITS)
    assert "\n" not in str(caught.value)


def test_rows_are_refused_by_encoders_of_pictures() -> None:
    with pytest.raises(UsageError, match="encoder gabor takes samples of the kind image"):
        make_encoder("gabor+strokes", SCHEMA.kind)


@pytest.mark.parametrize("name", ["gabor+", "gabor+gabor", "gabor+nowhere", "gabor+auto"])
def test_the_setting_is_checked_before_data_are_read(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "encoder" in fails(capsys, "run", "--data", "absent/", "--encoder", name)
    assert "encoder" in fails(capsys, "run", "--data", "absent/", "--moments", name)


def test_moments_of_all_sites_decode_and_tell_classes_apart(digits: Dataset) -> None:
    settings = {**FEW, "moments.encoder": "gabor+strokes"}
    parts = split_by_class(digits.subset(range(800)), 2)
    sent = [mosaic_fl.contribute(part, model="none", client=k, settings=settings) for k, part in enumerate(parts)]
    space = feature_space([Contribution.from_bytes(c.to_bytes()) for c in sent])
    assert space is not None
    assert space.decoded(50, digits.schema.fields, Stream(0, "decoded")).only.shape == (50, 1, 8, 8)
    held = digits.subset(range(800, 1200))
    right = space.expert.log_probabilities(held.samples).argmax(1) == held.labels
    assert float(right.float().mean()) > 0.93


def test_private_moments_have_squares_of_each_class(digits: Dataset) -> None:
    settings = {"moments.encoder": "gabor:32+strokes", "generator.family": "none", "privacy.epsilon": 10.0}
    data = digits.subset(range(800))
    sent = mosaic_fl.contribute(data, model="none", client=0, settings=settings)
    assert sent.moments is not None
    assert sent.moments.spec.width == 4  # squares of each class
    assert float(sent.moments.state["clip"]) == pytest.approx(0.8 * math.sqrt(2 * 32))


def test_a_run_on_joined_vectors_predicts_from_pictures(tmp_path: Path, digits: Dataset) -> None:
    save_parquet(digits.subset(range(1000)), tmp_path / "train.parquet")
    save_parquet(digits.subset(range(1000, 1100)), tmp_path / "test.parquet")
    words = ["--preset", "encoder", "--encoder", "gabor:16+strokes", "--clients", "2", "--out", "run"]
    assert "gabor:16+strokes" in mosaic("run", "--data", ".", *words, cwd=tmp_path)
    model = mosaic_fl.GlobalModel.load(tmp_path / "run")
    assert model.schema.kind.shape == (48,)
    vectors = encode(digits.subset(range(1000, 1100)), "gabor:16+strokes").samples.only
    assert torch.equal(model.predict(vectors), model.predict(digits.images[1000:1100]))


def test_the_lengths_of_drawings_are_near_the_public_ones() -> None:
    """So neither part has most of the length to which vectors are shortened."""
    vectors = make_encoder("gabor+strokes", DIGITS).vectors(
        drawings(200, DIGITS.shape, torch.Generator().manual_seed(0))
    )
    first, second = (part.norm(dim=1).median() for part in vectors.split([128, 32], 1))
    assert 0.6 < float(second / first) < 1.7


def test_the_name_alone_is_a_setting() -> None:
    assert Config().with_values({"data.encoder": "gabor+strokes"}).data.encoder == "gabor+strokes"
