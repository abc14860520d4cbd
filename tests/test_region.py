"""A global model with its clients' merged generators is itself a contribution: regions first, the country then."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import mosaic_fl
from command import QUICK, fails, mosaic
from mosaic_fl.config import GeneratorConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.exchange.trial import Trial
from mosaic_fl.generators.base import MAX_MEMBERS, GeneratorSpec, build
from mosaic_fl.generators.merged import Merged, merge
from mosaic_fl.models import build as build_model
from mosaic_fl.notes import Note
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.registries import GENERATORS
from mosaic_fl.server.pool import Sampler
from mosaic_fl.server.region import as_contribution
from mosaic_fl.server.trust.report import ACCEPTED, QUARANTINED, TrustReport, Verdict
from mosaic_fl.storage.folder_lock import vacate

FEW = {"train.max_steps": 5, "train.min_steps": 5, "generator.steps": 5, "generator.width": 4}


def made(digits: Dataset, client: int, classes: tuple[int, ...], **settings: object) -> Contribution:
    mine = torch.isin(digits.labels, torch.tensor(classes)).nonzero().flatten()[: 60 + 10 * client]
    return mosaic_fl.contribute(
        digits.subset(mine.tolist()), model="mlp:4", client=client, settings={**FEW, **settings}
    )


@pytest.fixture(scope="module")
def clients(digits: Dataset) -> list[Contribution]:
    """Four clients: 0 and 1 share class 2, and one has another latent."""
    held = ((0, 1, 2), (2, 3, 4), (5, 6, 7), (7, 8, 9))
    return [made(digits, k, own, **({"generator.latent": 5} if k == 1 else {})) for k, own in enumerate(held)]


@pytest.fixture
def model(clients: list[Contribution]) -> GlobalModel:
    schema = clients[0].schema
    return GlobalModel("mlp:8", schema, copy_state(build_model("mlp:8", schema)))


def test_a_region_is_a_contribution_like_another(clients: list[Contribution], model: GlobalModel) -> None:
    region = as_contribution(model, clients[:2], 7)
    again = Contribution.from_bytes(region.to_bytes())
    assert again.client == 7
    assert again.architecture == "mlp:8"
    assert again.class_counts.equal(clients[0].class_counts + clients[1].class_counts)
    assert again.generator_spec == region.generator_spec
    assert again.generator_line == "merged (merged of clients 0, 1)"
    assert again.generator_spec is not None
    assert [member.latent for member in again.generator_spec.members] == [16, 5]
    assert again.to_bytes() == region.to_bytes()


def test_members_draw_as_the_server_draws_from_clients(clients: list[Contribution], model: GlobalModel) -> None:
    region = as_contribution(model, clients[:2], 0)
    generator = region.build_generator()
    assert isinstance(generator, Merged)
    both = clients[0].class_counts[2] + clients[1].class_counts[2]
    labels = torch.tensor([0] * 50 + [4] * 50 + [2] * 900)
    owners = generator._owners(torch.linspace(1e-4, 1 - 1e-4, 1000)[torch.randperm(1000)], labels)
    assert (owners[:50] == 0).all()
    assert (owners[50:100] == 1).all()
    share = (owners[100:] == 1).float().mean()
    assert share == pytest.approx(float(clients[1].class_counts[2] / both), abs=0.05)
    extreme = generator._owners(torch.tensor([0.0, 1.0]), torch.tensor([4, 0]))
    assert extreme.tolist() == [1, 0]
    z = torch.randn(3, 17, generator=torch.Generator().manual_seed(0))
    own = clients[1].build_generator()
    assert own is not None
    with torch.no_grad():
        assert generator(z, torch.tensor([3, 4, 3])).equal(own(z[:, :5], torch.tensor([3, 4, 3])))
    pool = Sampler([region], torch.device("cpu")).draw(200, Stream(0, "test"))
    assert set(pool.labels.tolist()) == {0, 1, 2, 3, 4}


def test_a_region_of_regions_is_one_level(clients: list[Contribution], model: GlobalModel) -> None:
    regions = [as_contribution(model, clients[:2], 0), as_contribution(model, clients[2:], 1)]
    country = as_contribution(model, regions, 0)
    flat = as_contribution(model, clients, 0)
    assert country.generator_spec == flat.generator_spec
    assert country.generator is not None
    assert flat.generator is not None
    assert country.generator.keys() == flat.generator.keys()
    assert all(country.generator[name].equal(flat.generator[name]) for name in flat.generator)
    assert country.class_counts.equal(flat.class_counts)


def test_what_cannot_be_merged_is_told(clients: list[Contribution], model: GlobalModel, digits: Dataset) -> None:
    bare = replace(clients[1], generator=None, generator_spec=None)
    with pytest.raises(UsageError, match="class '3' is held by clients alone whose generators .*clients 1"):
        as_contribution(model, [clients[0], bare], 0)
    same = replace(bare, class_counts=clients[0].class_counts)
    with pytest.warns(Note, match="clients 1 have no generator"):
        region = as_contribution(model, [clients[0], same], 0)
    assert region.class_counts.equal(2 * clients[0].class_counts)
    with pytest.raises(UsageError, match="nothing to merge"):
        as_contribution(model, [bare], 0)
    many = [clients[0]] * (MAX_MEMBERS + 1)
    with pytest.raises(UsageError, match="257 generators to merge"):
        as_contribution(model, many, 0)
    with pytest.raises(UsageError, match="it is not trained"):
        made(digits, 0, (0, 1), **{"generator.family": "merged"})
    assert GENERATORS["merged"].conditional
    with pytest.raises(UsageError, match="not trained"):
        GENERATORS["merged"].spec(GeneratorConfig(), clients[0].schema)


PLAIN = {"family": "cvae", "latent": 3, "width": 4}
WHOLE = {"family": "merged", "latent": 4, "width": 4, "members": [PLAIN, PLAIN]}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"members": []}, "of 0 others"),
        ({"members": None}, "a list of at most 256"),
        ({"members": [PLAIN] * 257}, "a list of at most 256"),
        ({"members": [PLAIN, WHOLE]}, "not merged"),
        ({"members": [PLAIN, 3]}, "needs a family"),
        ({"members": [PLAIN, {**PLAIN, "family": "dcgan"}]}, "draw samples of a given class"),
        ({"members": [PLAIN, {**PLAIN, "family": "os.system"}]}, "os.system"),
        ({"members": [PLAIN, {**PLAIN, "latent": 10**9}]}, "must lie in"),
        ({"latent": 5}, "one more than"),
        ({"members": [{**PLAIN, "width": k + 1} for k in range(17)]}, "of 17 kinds of others"),
        ({"width": 2**20}, "must lie in"),
    ],
)
def test_a_hostile_specification_is_refused(change: dict[str, object], reason: str) -> None:
    assert GeneratorSpec.from_json(WHOLE).to_json() == WHOLE
    with pytest.raises(UsageError, match=reason):
        GeneratorSpec.from_json({**WHOLE, **change})


def test_only_a_merged_generator_has_members(schema: Schema) -> None:
    assert GeneratorSpec.from_json({**PLAIN, "members": [PLAIN]}) == GeneratorSpec.from_json(PLAIN)
    with pytest.raises(UsageError, match="merged alone"):
        GeneratorSpec("cvae", 3, 4, (GeneratorSpec("cvae", 3, 4),))


def test_hostile_weights_are_refused(clients: list[Contribution], model: GlobalModel) -> None:
    region = as_contribution(model, clients[:2], 0)
    assert region.generator is not None
    counts = region.generator["counts"]
    name = next(name for name in region.generator if name.startswith("members.1."))
    for state, reason in (
        ({"counts": -counts}, "class counts that do not lie"),
        ({"counts": counts[:1]}, "counts"),
        ({name: region.generator[name][..., :1]}, "members.1"),
        ({"members.2.x": counts}, "not in the model"),
    ):
        hostile = replace(region, generator={**region.generator, **state})
        with pytest.raises(UsageError, match=reason):
            Contribution.from_bytes(hostile.to_bytes())
    lost = replace(region, class_counts=torch.ones_like(region.class_counts))  # classes that no member holds
    pool = Sampler([Contribution.from_bytes(lost.to_bytes())], torch.device("cpu")).draw(50, Stream(0, "test"))
    assert len(pool.labels) == 50


def test_the_cost_of_a_sample_counts_each_kind_of_member_once(schema: Schema) -> None:
    small = GeneratorSpec("cvae", 3, 4)
    flow = GENERATORS["flow"].spec(GeneratorConfig(family="flow", width=4), schema)

    def work(*specs: GeneratorSpec) -> int:
        spec = GeneratorSpec("merged", 1 + max(s.latent for s in specs), 4, specs)
        return Trial.of(schema, "mlp:4", spec).generator.operations

    assert work(small) == work(small, small) == Trial.of(schema, "mlp:4", small).generator.operations
    assert work(small, flow) >= Trial.of(schema, "mlp:4", flow).generator.operations
    spec, state = merge([(s, copy_state(build(s, schema)), torch.ones(3, dtype=torch.int64)) for s in (small, flow)])
    generator = build(spec, schema).fit_to(state)
    generator.load_state_dict(state)
    images = generator.sample(torch.tensor([0, 1, 2] * 3), torch.Generator().manual_seed(0))
    assert images.shape == (9, 1, 8, 8)


def quarantine_of(contributions: list[Contribution], client: int) -> TrustReport:
    """A report by which all but one client count in full."""
    states = {c.client: QUARANTINED if c.client == client else ACCEPTED for c in contributions}
    return TrustReport(tuple(Verdict(k, state, (float(state == ACCEPTED),)) for k, state in states.items()))


def test_regions_first_and_the_country_then(
    clients: list[Contribution], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for c in clients:
        (tmp_path / f"{c.client}.contribution").write_bytes(c.to_bytes())
    words = ["--student", "mlp:8", *QUICK, "--set", "distill.steps=20"]
    for k, own in enumerate(("01", "23")):
        files = [f"{client}.contribution" for client in own]
        region = ["--as-contribution", f"region-{k}.contribution", "--client", str(k), "--out", f"region-{k}"]
        told = mosaic("distill", *files, *words, *region, cwd=tmp_path)
        assert f"client {k} stands for 2 contributions" in told
    regions = ["region-0.contribution", "region-1.contribution"]
    mosaic("distill", *regions, *words, "--out", "country", cwd=tmp_path)
    result = json.loads((tmp_path / "country" / "result.json").read_text())
    assert result["contributors"] == [0, 1]
    assert GlobalModel.load(tmp_path / "country").architecture == "mlp:8"
    vacate()
    region = ["--as-contribution", "part.contribution", "--client", "7", "--out", "part"]
    with monkeypatch.context() as patch:
        patch.setattr("mosaic_fl.server.trust.vet.examine", lambda given, *_: quarantine_of(given, 1))
        told = mosaic("distill", "0.contribution", "1.contribution", *words, *region, cwd=tmp_path)
    assert "client 7 stands for 1 of 2 contributions" in told
    vacate()
    files = [str(tmp_path / f"{k}.contribution") for k in range(2)]
    alone = [*files, *words, "--out", str(tmp_path / "other")]
    assert "belong together" in fails(capsys, "distill", *alone, "--client", "3")
    place = str(tmp_path / "region-0.contribution")
    assert "exists: add --force" in fails(capsys, "distill", *alone, "--client", "3", "--as-contribution", place)
    assert "is what this command reads" in fails(
        capsys, "distill", *alone, "--client", "3", "--as-contribution", files[0], "--force"
    )
    run = tmp_path / "region-0"
    (tmp_path / "0.contribution").unlink()
    assert f"{place}, outside" in fails(capsys, "withdraw", run, "0", "--force")
    (tmp_path / "region-0.contribution").rename(run / "mine.contribution")
    vacate()
    mosaic("withdraw", "region-0", "0", "--force", cwd=tmp_path)
    assert not (run / "mine.contribution").exists()
