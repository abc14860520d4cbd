from dataclasses import replace
from pathlib import Path

import pytest
import torch

from densities import written_by_0_7
from mosaic_fl.client.contribute import Site, contribute
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset, image_dataset
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.exchange.contribution import KIND, Contribution
from mosaic_fl.forecast.sizes import contribution_bytes
from mosaic_fl.generators.density import ClassMixture
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import under
from mosaic_fl.storage import container
from mosaic_fl.training.monitor import Recorder

QUICK = {
    "train.max_steps": 5,
    "train.min_steps": 5,
    "generator.steps": 5,
    "generator.latent": 4,
    "generator.width": 4,
    "prototypes.per_class": 4,
    "meta.source": "prototypes",
}


def silent(stage: str) -> Recorder:
    return Recorder()


@pytest.fixture(scope="module")
def made(digits: Dataset) -> Contribution:
    config = Config().with_values(QUICK)
    return contribute(Site(2, digits.subset(range(80)), "cnn:4"), config, torch.device("cpu"), silent)


def altered(made: Contribution, **manifest: object) -> bytes:
    """A well-sealed file of a sender who lies in the manifest."""
    content, tensors = container.unpack(made.to_bytes(), KIND, "x")
    return container.pack(KIND, content | manifest, tensors)


def test_round_trip_is_exact(made: Contribution, tmp_path: Path) -> None:
    (tmp_path / "a.contribution").write_bytes(made.to_bytes())
    back = Contribution.load(tmp_path / "a.contribution")
    assert back.to_bytes() == made.to_bytes()
    images = torch.rand(4, 1, 8, 8)
    assert torch.equal(back.build_network()(images), made.build_network()(images))
    labels = torch.tensor([0, 1])
    before, after = made.build_generator(), back.build_generator()
    assert before is not None
    assert after is not None
    rng = Stream(0, "z")
    assert torch.equal(before.sample(labels, rng.torch()), after.sample(labels, rng.torch()))


def test_without_a_generator(made: Contribution) -> None:
    lean = replace(made, generator=None, generator_spec=None, generator_note="too few samples")
    back = Contribution.from_bytes(lean.to_bytes())
    assert back.build_generator() is None
    assert back.generator_note == "too few samples"


def test_no_private_sample_travels(made: Contribution, digits: Dataset) -> None:
    data = made.to_bytes()
    assert not any(bytes(image.flatten().tolist()) in data for image in digits.images[:80])


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ({"architecture": "nosuch:4"}, "unknown model 'nosuch'"),
        ({"architecture": "os.path:join"}, "os.path:join"),
        ({"architecture": "cnn:1024:6"}, "6,441,540,618 parameters"),
        ({"architecture": "cnn:999999"}, "999999"),
        ({"architecture": "mlp:64"}, "contribution of client 2: weight"),
        ({"architecture": 3}, "not one of a contribution"),
        ({"client": -1}, "not one of a contribution"),
        ({"client": 10**30}, "not one of a contribution"),
        ({"client": True}, "not one of a contribution"),
        ({"validation": {"accuracy": float("inf")}}, "not one of a contribution"),
        ({"validation": {"accuracy": True}}, "not one of a contribution"),
        ({"schema": {"kind": "image", "shape": [1, 8, 8]}}, "schema"),
        (
            {"schema": {"kind": "image", "shape": [1, 99999, 8], "classes": ["a"] * 10, "range": [0, 255]}},
            "out of bounds",
        ),
        ({"schema": {"kind": "image", "shape": [True, 8, 8], "classes": ["a"] * 10, "range": [0, 255]}}, "schema"),
        ({"schema": {"kind": "image", "shape": [1, 8, 8], "classes": ["\x1b[2J", "b"], "range": [0, 255]}}, "control"),
        (
            {"schema": {"kind": "image", "shape": [1, 8, 8], "classes": ["\ud800", "b"], "range": [0, 255]}},
            "its manifest is not JSON",
        ),
        ({"schema": {"kind": "image", "shape": [1, 8, 8], "classes": ["\u202ea", "b"], "range": [0, 255]}}, "control"),
        (
            {"schema": {"kind": "image", "shape": [1, 8, 8], "classes": ["a" * 201, "b"], "range": [0, 255]}},
            "at most 200",
        ),
        ({"generator": {"family": "cvae", "latent": True, "width": 4}}, "needs a family, a latent size"),
        ({"generator": {"family": "cvae", "latent": 10**9, "width": 4}}, "latent 1000000000"),
        ({"generator": {"family": "pickle", "latent": 4, "width": 4}}, "unknown generator 'pickle'"),
        ({"generator": {"family": "cvae", "latent": 5, "width": 4}}, "generator: weight"),
        ({"validation": {"accuracy": "high"}}, "not one of a contribution"),
    ],
)
def test_a_lying_manifest_is_an_error_that_names_the_file(
    made: Contribution, manifest: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=f"from b.contribution.*({message})"):
        Contribution.from_bytes(altered(made, **manifest), "from b.contribution")


@pytest.mark.parametrize("counts", [[-1] + [1] * 9, [0] * 10, [1] * 9, [2**62] * 10])
def test_impossible_class_counts(made: Contribution, counts: list[int]) -> None:
    with pytest.raises(UsageError, match="class counts"):
        Contribution.from_bytes(replace(made, class_counts=torch.tensor(counts)).to_bytes())


def test_diverged_weights_are_never_sent(made: Contribution) -> None:
    expert = dict(made.expert)
    expert["head.bias"] = torch.full_like(expert["head.bias"], float("nan"))
    with pytest.raises(MosaicError, match=r"non-finite values in 'expert/head.bias'"):
        replace(made, expert=expert).to_bytes()


def test_prototypes_must_fit(made: Contribution) -> None:
    right = made.prototypes
    wrong = [
        replace(right, labels=right.labels + 10),
        replace(right, labels=torch.tensor(0)),
        replace(right, features=right.features.to(torch.uint8)),
        replace(right, features=right.features[:, :3]),
        replace(right, sizes=right.sizes * 0),
    ]
    for prototypes in wrong:
        with pytest.raises(UsageError, match="prototypes"):
            Contribution.from_bytes(replace(made, prototypes=prototypes).to_bytes())


def test_finite_weights_with_non_finite_outputs(made: Contribution) -> None:
    name = next(n for n in made.expert if n.endswith("running_var"))
    poisoned = made.expert | {name: -torch.ones_like(made.expert[name])}
    with pytest.raises(UsageError, match="its expert gives non-finite outputs"):
        Contribution.from_bytes(replace(made, expert=poisoned).to_bytes())
    assert made.generator is not None
    weights = {name: tensor for name, tensor in made.generator.items() if not name.startswith("density.")}
    huge = made.generator | {name: tensor.sign() * 3e38 for name, tensor in weights.items()}  # ∞ − ∞ on the way
    with pytest.raises(UsageError, match="its generator gives non-finite images"):
        Contribution.from_bytes(replace(made, generator=huge).to_bytes())
    far = made.generator | {"density.location": torch.full_like(made.generator["density.location"], 1e30)}
    with pytest.raises(UsageError, match="density lies farther than"):
        Contribution.from_bytes(replace(made, generator=far).to_bytes())


def test_another_schema_than_the_one_that_is_asked_for(made: Contribution) -> None:
    assert Contribution.from_bytes(made.to_bytes(), schema=made.schema).client == 2
    asked = image_schema((3, 8, 8), made.schema.classes)
    with pytest.raises(UsageError, match="it has images of 1×8×8, not 3×8×8 as this federation"):
        Contribution.from_bytes(made.to_bytes(), schema=asked)


@pytest.mark.parametrize("claimed", [{"architecture": "cnn:1024:1"}, {"generator": ("cvae", 4, 1024)}])
def test_a_small_file_cannot_claim_a_network_whose_maps_need_gigabytes(
    made: Contribution, claimed: dict[str, object]
) -> None:
    manifest, tensors = container.unpack(made.to_bytes(), KIND, "x")
    generator = manifest["generator"]
    if "generator" in claimed:
        claimed = {"generator": dict(zip(("family", "latent", "width"), claimed["generator"], strict=True))}
    else:
        generator, tensors = None, {k: t for k, t in tensors.items() if not k.startswith("generator/")}
    schema = manifest["schema"] | {"shape": [1, 1024, 1024]}
    data = container.pack(KIND, manifest | {"schema": schema, "generator": generator} | claimed, tensors)
    with pytest.raises(UsageError, match="a layer gives [0-9,]+ values a sample: at most [0-9,]+"):
        Contribution.from_bytes(data)


def test_a_reason_cannot_steer_a_terminal(made: Contribution) -> None:
    lean = replace(made, generator=None, generator_spec=None, generator_note="\x1b[2Jtoo few\n")
    assert Contribution.from_bytes(lean.to_bytes()).generator_note == "[2Jtoo few"


def full_density(state: dict[str, torch.Tensor], latent: int = 4, classes: int = 10) -> dict[str, torch.Tensor]:
    """A generator's state with a density as version 0.7 wrote it."""
    density = ClassMixture(classes, latent)
    density.resize(len(state["density.share"]))
    density.load_state_dict(under("density.", state))
    rest = {name: tensor for name, tensor in state.items() if not name.startswith("density.")}
    return rest | {f"density.{name}": tensor for name, tensor in written_by_0_7(density).items()}


def test_a_file_of_0_7_is_read_and_draws_the_same_samples(made: Contribution) -> None:
    assert made.generator is not None
    older = replace(made, generator=full_density(made.generator))
    assert len(older.to_bytes()) > len(made.to_bytes())
    back = Contribution.from_bytes(older.to_bytes())
    assert back.to_bytes() == made.to_bytes()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("share", torch.tensor(1.0)),
        ("share", torch.zeros(0)),
        ("share", torch.ones(2**20)),
        ("location", torch.zeros(1, 5)),
        ("scale", torch.zeros(1, 16)),
        ("components", torch.full((10,), 16, dtype=torch.uint8)),
        ("components", torch.zeros(10, dtype=torch.int64)),
        ("components", torch.zeros(9, dtype=torch.uint8)),
    ],
)
def test_a_density_whose_parts_do_not_fit_each_other_is_refused(
    made: Contribution, name: str, value: torch.Tensor
) -> None:
    assert made.generator is not None
    with pytest.raises(UsageError, match=r"generator: weight 'density|density has components of no class"):
        Contribution.from_bytes(replace(made, generator=made.generator | {f"density.{name}": value}).to_bytes())


def test_a_client_of_few_classes_sends_a_density_of_these_alone() -> None:
    """Four of 43 classes: a tenth of the Gaussians, and one more."""
    schema = image_schema((1, 8, 8), tuple(map(str, range(43))))
    images = torch.randint(256, (430, 1, 8, 8), dtype=torch.uint8)
    config = Config().with_values(QUICK | {"generator.latent": 16})
    density = list[int]()
    for held in (4, 43):
        data = image_dataset(images, torch.arange(430) % held, schema)
        sent = contribute(Site(0, data.subset(range(held * 10)), "mlp:4"), config, torch.device("cpu"), silent)
        assert sent.generator is not None
        density.append(sum(t.nbytes for t in under("density.", sent.generator).values()))
        counts = tuple(sent.class_counts.tolist())
        assert sent.generator_spec is not None
        foreseen = contribution_bytes("mlp:4", schema, counts, config, sent.generator_spec)
        assert len(sent.to_bytes()) == pytest.approx(foreseen, rel=0.02)
    a_gaussian = 4 * (1 + 16 + 16 * 17 // 2)
    assert density == [43 + 5 * a_gaussian, 43 + 44 * a_gaussian]
