"""The paper's teacher: experts by class, and a meta model that learns from prototypes."""

from dataclasses import replace

import pytest
import torch

from mosaic_fl.client.contribute import Site, common_start
from mosaic_fl.config import Config
from mosaic_fl.config.presets import PRESETS, preset_config
from mosaic_fl.domains.dataset import image_dataset
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.domains.samples import Samples
from mosaic_fl.engines.local import LocalFederation
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution, Prototypes
from mosaic_fl.methods.mosaic import _warm_up
from mosaic_fl.models import build
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.server.experts import MixtureOfExperts
from mosaic_fl.server.prototypes import prototype_outputs
from mosaic_fl.storage.journal import Journal

SCHEMA = image_schema((1, 8, 8), ("a", "b", "c"))


def contribution(client: int, counts: list[int], spec: str = "mlp:4:1") -> Contribution:
    with Stream(client, "init").ambient():
        state = copy_state(build(spec, SCHEMA))
    prototypes = Prototypes(torch.full((2, 4), float(client)), torch.tensor([0, client]), torch.tensor([5, 6]))
    return Contribution(client, SCHEMA, spec, state, torch.tensor(counts), prototypes, {"samples": 0})


PAIR = [contribution(0, [30, 10, 0]), contribution(1, [10, 0, 0])]


def test_an_expert_a_class_is_the_count_weighted_average_of_weights() -> None:
    mixture = MixtureOfExperts.class_average(PAIR)
    assert len(mixture.experts) == 2  # nobody holds class c: no expert of it exists
    first, second = (c.expert["head.weight"] for c in PAIR)
    of_a, of_b = (expert.head.weight for expert in mixture.experts)
    assert torch.allclose(of_a, 0.75 * first + 0.25 * second, atol=1e-6)
    assert torch.allclose(of_b, first, atol=1e-6)
    assert torch.equal(mixture.weights, torch.tensor([[1.0, 0, 0], [0, 1, 0]]))


def test_identical_clients_give_identical_experts() -> None:
    twins = [PAIR[0], replace(PAIR[0], client=1)]
    images = torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8)
    samples = Samples(PAIR[0].schema.fields, {"image": images})
    outputs = MixtureOfExperts.class_average(twins).outputs(samples)
    assert torch.allclose(outputs[:, 0], MixtureOfExperts.of(twins).outputs(samples)[:, 0], atol=1e-5)


def test_different_architectures_have_no_average() -> None:
    with pytest.raises(UsageError, match="one architecture and width, not cnn:2, mlp:4:1"):
        MixtureOfExperts.class_average([PAIR[0], contribution(1, [1, 1, 1], "cnn:2")])


def test_prototypes_go_through_every_experts_head() -> None:
    mixture = MixtureOfExperts.of(PAIR)
    outputs, labels = prototype_outputs(PAIR, mixture)
    assert labels.tolist() == [0, 0, 0, 1]
    assert outputs.shape == (4, 2, 3)
    features = torch.tensor([[0.0] * 4, [0.0] * 4, [1.0] * 4, [1.0] * 4])
    for k, expert in enumerate(mixture.experts):
        assert torch.allclose(outputs[:, k], expert.head(features))


def test_a_client_without_prototypes_has_no_part_in_them() -> None:
    """Whatever width its empty features are of; its expert has a part in the outputs all the same."""
    none = Prototypes(torch.zeros(0, 9), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
    pair = [replace(PAIR[0], prototypes=none), PAIR[1]]
    outputs, labels = prototype_outputs(pair, MixtureOfExperts.of(pair))
    everybody, _ = prototype_outputs(PAIR, MixtureOfExperts.of(PAIR))
    assert labels.tolist() == PAIR[1].prototypes.labels.tolist()
    assert torch.equal(outputs, everybody[2:])


def test_prototypes_need_some_and_one_architecture() -> None:
    none = Prototypes(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
    silent = [replace(c, prototypes=none) for c in PAIR]
    with pytest.raises(UsageError, match="no client sent prototypes"):
        prototype_outputs(silent, MixtureOfExperts.of(silent))
    mixed = [PAIR[0], contribution(1, [1, 1, 1], "cnn:2")]
    with pytest.raises(UsageError, match="needs one built-in architecture"):
        prototype_outputs(mixed, MixtureOfExperts.of(mixed))


def test_the_papers_preset_is_the_papers_recipe() -> None:
    paper = preset_config("paper")
    assert (paper.generator.family, paper.experts.kind, paper.meta.source) == ("dcgan", "class_average", "prototypes")
    weights = (paper.distill.kl, paper.distill.teacher_label, paper.distill.jsd, paper.distill.label)
    assert weights == (0.8, 0.2, 1.0, 0.0)
    assert (paper.distill.lr, paper.distill.batch_size, paper.distill.prior) == (1e-4, 320, "none")
    assert (paper.rounds.warm_up, paper.rounds.steps, paper.rounds.fine_tune_lr) == (300, 10, 1e-4)
    assert preset_config("default") == preset_config("default").with_values(PRESETS["default"])
    with pytest.raises(UsageError, match="did you mean paper"):
        preset_config("papr")


def test_clients_whose_weights_will_be_averaged_begin_from_one_model_by_files_as_in_a_run() -> None:
    averaged = Config().with_values({"experts.kind": "class_average"})
    start = common_start(averaged, "mlp:4:1", SCHEMA)
    assert start is not None
    assert common_start(Config(), "mlp:4:1", SCHEMA) is None
    data = image_dataset(torch.zeros(4, *SCHEMA.shape, dtype=torch.uint8), torch.arange(4) % 2, SCHEMA)
    sites = [Site(k, data, "mlp:4:1") for k in range(2)]
    with LocalFederation(sites, averaged, torch.device("cpu"), Journal()) as clients:
        starts = _warm_up(clients, averaged, range(0), Journal()).starts
    for begin in starts.values():
        assert all(torch.equal(begin.state[name], tensor) for name, tensor in start.items())
