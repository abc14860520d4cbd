"""Class moments beside a client's model, in the space of a public encoder: the value, its file, what is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from hostile_states import changed
from moments_cases import first, split_by_class, told
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.encoders.encoding import encode
from mosaic_fl.encoders.naming import make_encoder
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.feature_moments import FeatureMoments, moments_encoder
from mosaic_fl.numerics.moments import moments_of
from mosaic_fl.server.agreement import compatible
from mosaic_fl.server.feature_space import feature_space
from mosaic_fl.storage import container
from vector_cases import clouds


@pytest.fixture(scope="module")
def sent(digits: Dataset) -> Contribution:
    return told(first(digits), 0)


def own(contribution: Contribution) -> FeatureMoments:
    assert contribution.moments is not None
    return contribution.moments


def test_the_moments_are_those_of_the_encoded_samples_and_travel_in_the_file(
    sent: Contribution, digits: Dataset
) -> None:
    again = Contribution.from_bytes(sent.to_bytes())
    assert again.to_bytes() == sent.to_bytes()
    assert again.schema == digits.schema  # samples stay pictures
    data = first(digits)
    expected = moments_of(encode(data, "gabor:16").samples.only, data.labels, 10)
    moments = own(again).build(again.schema, "it").moments
    assert moments.counts.equal(data.class_counts())
    assert torch.allclose(moments.means, expected.means, atol=1e-5)
    assert torch.allclose(moments.scatter, expected.scatter, atol=1e-2)


def test_a_class_of_nine_pictures_is_not_told(digits: Dataset) -> None:
    few = torch.cat([(digits.labels == 0).nonzero()[:40, 0], (digits.labels == 1).nonzero()[:9, 0]])
    contribution = told(digits.subset(few.tolist()), 0)
    assert contribution.class_counts.tolist()[:2] == [40, 9]
    assert own(contribution).state["counts"].tolist()[:2] == [40, 0]
    assert not bool(own(contribution).state["means"][1].any())


def test_a_contribution_without_moments_is_as_before(digits: Dataset) -> None:
    plain = told(first(digits, 60), 0, **{"moments.encoder": ""})
    manifest, tensors = container.unpack(plain.to_bytes(), "contribution", "it")
    assert plain.moments is None
    assert "moments" not in manifest
    assert not [name for name in tensors if name.startswith("moments/")]


def test_moments_of_any_split_are_those_of_the_pooled_data(digits: Dataset) -> None:
    data = digits.subset(range(900))
    pooled = feature_space([told(data, 0)])
    apart = feature_space([told(part, k) for k, part in enumerate(split_by_class(data, 4))])
    assert pooled is not None
    assert apart is not None
    assert apart.tellers == (0, 1, 2, 3)
    test = digits.subset(range(900, 1400))
    ours = apart.expert.log_probabilities(test.samples)
    assert torch.allclose(ours, pooled.expert.log_probabilities(test.samples), atol=2e-2)
    assert float((ours.argmax(1) == test.labels).float().mean()) > 0.85


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("counts", changed(0, 3), "of 3 vectors of a class"),
        ("counts", changed(0, 400), "class counts say 31"),
        ("scatter", changed(0, -1.0), "negative variance"),
        ("scatter", lambda t: t[:-1], "moments: weight 'scatter'"),
        ("means", lambda t: t[:, :2], "moments: weight 'means'"),
    ],
)
def test_moments_that_no_data_have_are_refused(
    sent: Contribution, name: str, change: Callable[[Tensor], Tensor], words: str
) -> None:
    told = own(sent)
    bad = replace(told, state={**told.state, name: change(told.state[name])})
    with pytest.raises(UsageError, match=words):
        Contribution.from_bytes(replace(sent, moments=bad).to_bytes())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"generator": {"family": "moments", "latent": 17, "width": 2}}, "moments: weight"),
        ({"generator": {"family": "moments", "latent": 65536, "width": 2}}, "a moments generator of 65536 numbers"),
        ({"generator": {"family": "cvae", "latent": 16, "width": 2}}, "generator 'cvae', where moments are read"),
        ({"generator": {"family": "moments", "latent": 0, "width": 2}}, "latent 0"),
        ({"encoder": ""}, "do not say their encoder"),
        ({"encoder": "a\nb"}, "none of them a control"),
        ({"digest": "12"}, "64 hexadecimal digits"),
        ({"digest": ["x"]}, "do not say their encoder"),
    ],
)
def test_what_is_said_of_the_space_is_checked_before_anything_is_made(
    sent: Contribution, change: dict[str, Any], words: str
) -> None:
    manifest, tensors = container.unpack(sent.to_bytes(), "contribution", "it")
    manifest["moments"] |= change
    with pytest.raises(UsageError, match=words):
        Contribution.from_bytes(container.pack("contribution", json.loads(json.dumps(manifest)), tensors))


def test_encoders_that_differ_between_sites_or_from_the_one_here_are_told(sent: Contribution, digits: Dataset) -> None:
    other = told(first(digits, 60), 1, **{"moments.encoder": "strokes"})
    with pytest.raises(UsageError, match=r"client 1 tells moments of vectors of 32 numbers, not .* as client 0"):
        compatible([sent, other])
    forged = replace(other, moments=replace(own(sent), digest="0" * 64))
    with pytest.raises(UsageError, match="with the digest 000000000000, not"):
        compatible([sent, forged])
    with pytest.raises(UsageError, match="the encoder here gives"):
        feature_space([forged])
    with pytest.raises(UsageError, match="the encoder here gives"):
        feature_space([sent], "gabor")
    for name in ("timm:resnet18", "os:getcwd", "unheard"):
        with pytest.raises(UsageError, match="is not built in: name the same one here"):
            feature_space([replace(sent, moments=replace(own(sent), encoder=name))])


def test_who_told_moments_and_who_did_not_is_said(sent: Contribution, digits: Dataset) -> None:
    silent = told(first(digits, 60), 3, **{"moments.encoder": ""})
    with pytest.warns(UserWarning, match="client 3 told no class moments; those of encoder gabor:16 are of client 0"):
        space = feature_space([sent, silent])
    assert space is not None
    encoder = make_encoder("gabor:16", digits.schema.kind)
    named = {"name": "gabor:16", "digest": encoder.digest, "trained_on": encoder.trained_on}
    assert space.report == {"encoder": named, "clients": [0], "without": [3]}
    assert feature_space([silent]) is None


def test_what_moments_are_not_of_is_told_before_any_work(digits: Dataset) -> None:
    def told_of(encoder: str) -> Config:
        return Config().with_values({"moments.encoder": encoder})

    colour = image_schema((3, 8, 8), ("a", "b"))
    assert moments_encoder(Config(), digits.schema) is None
    encoder = moments_encoder(told_of("auto"), digits.schema)
    assert encoder is not None
    assert encoder.name == "gabor"
    with pytest.raises(UsageError, match="is for pictures, and these are vectors of 4 numbers"):
        moments_encoder(told_of("gabor"), clouds().schema)
    with pytest.raises(UsageError, match="takes samples of the kind table"):
        moments_encoder(told_of("encoding"), colour)
    with pytest.raises(UsageError, match=r"moments\.encoder"):
        told_of("garbo")


def test_an_expert_behind_an_encoder_never_answers_a_class_that_nobody_told(digits: Dataset) -> None:
    space = feature_space([told(digits.subset((digits.labels < 4).nonzero().flatten().tolist()), 0)])
    assert space is not None
    answers = space.expert.log_probabilities(digits.samples[:200])
    assert bool(answers.isfinite().all())
    assert int(answers.argmax(1).max()) <= 3
    assert torch.allclose(answers.exp().sum(1), torch.ones(200), atol=1e-5)
