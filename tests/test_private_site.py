"""A deployed site with an ε in its own file: nothing but noisy contributions leaves it, whatever a server asks for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("flwr", reason="the flower extra is not installed")

from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config
from mosaic_fl.config.privacy import PrivacyConfig
from mosaic_fl.config.privacy_checks import of_site
from mosaic_fl.deploy.prepare import check_data
from mosaic_fl.engines.flower import answer_codec, codec
from mosaic_fl.engines.flower.client import HELLO, Desk
from mosaic_fl.engines.flower.site import load_site
from mosaic_fl.engines.flower.wire import Answer, Request
from mosaic_fl.engines.tasks import ContributeTask, EvaluateTask, StatisticsTask
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.notes import Note
from mosaic_fl.storage import container
from test_private_contribution import CPU, PRIVATE, clouds

OWN = PrivacyConfig(epsilon=2.0, delta=1e-6, clip=6.0)


def desk(folder: Path | None = None, privacy: PrivacyConfig = OWN) -> Desk:
    site = Site(0, clouds(), "discriminant")
    return Desk(0, lambda: site, CPU, folder, privacy)


def request(work: codec.Work, config: Config) -> Request:
    body = codec.encode(work, config)
    return Request("run", codec.NAMES[type(work)], 0, body)


def contributed(answer: Answer) -> Contribution:
    assert not answer.reason
    return Contribution.from_bytes(answer.body)


def test_the_site_s_own_epsilon_and_shares_stand_and_a_server_that_wants_less_is_refused() -> None:
    for wish in ({}, {"privacy.epsilon": 2.0}, {"privacy.epsilon": 8.0, "privacy.squares": 0.5}):
        sent = contributed(desk().answer(request(ContributeTask(0), Config().with_values(wish))))
        assert sent.privacy is not None
        assert (sent.privacy.epsilon, sent.privacy.delta) == (2.0, 1e-6)
    with pytest.raises(UsageError, match="asks for ε = 1, δ = 1e-05, and this site's file says 2, 1e-06"):
        of_site(PrivacyConfig(epsilon=1.0), OWN)
    with pytest.raises(UsageError, match="set epsilon and delta in this site's own file"):
        of_site(PrivacyConfig(epsilon=1.0), PrivacyConfig())


def test_the_same_data_are_released_once_whatever_is_asked_and_in_every_run(tmp_path: Path) -> None:
    def ask(run: str, **wish: Any) -> Contribution:
        body = codec.encode(
            ContributeTask(0), Config().with_values({name.replace("__", "."): wish[name] for name in wish})
        )
        return contributed(desk(tmp_path).answer(Request(run, "contribute", 0, body)))

    first = ask("one")
    assert ask("two").to_bytes() == first.to_bytes()
    assert ask("one", run__seed=7).to_bytes() == first.to_bytes()
    assert ask("one", privacy__epsilon=8.0, privacy__squares=0.5, privacy__clip=1.0).to_bytes() == first.to_bytes()
    site = Site(0, clouds(seed=1), "discriminant")
    other = Desk(0, lambda: site, CPU, tmp_path, OWN).answer(request(ContributeTask(0), Config()))
    assert contributed(other).to_bytes() != first.to_bytes()


def test_a_release_that_cannot_be_kept_is_not_sent(tmp_path: Path) -> None:
    (tmp_path / "released").write_text("a file where the folder should be")
    answer = desk(tmp_path).answer(request(ContributeTask(0), Config()))
    assert answer.reason
    assert not answer.body


def test_the_count_of_samples_is_not_told_at_the_door() -> None:
    facts = desk().answer(Request("run", HELLO, 0)).facts
    assert facts["samples"] == 0
    assert desk(privacy=PrivacyConfig()).answer(Request("run", HELLO, 0)).facts["samples"] == 600


@pytest.mark.parametrize("wish", [{"generator.family": "cvae"}, {"prototypes.per_class": 1000}])
def test_a_server_that_asks_for_more_in_a_contribution_is_refused(wish: dict[str, Any]) -> None:
    answer = desk().answer(request(ContributeTask(0), Config().with_values(wish)))
    assert "refuses the request" in answer.reason
    assert not answer.body


def test_other_work_is_refused_and_a_judge_has_nothing_to_count() -> None:
    place = desk()
    sent = contributed(place.answer(request(ContributeTask(0), Config())))
    answer = place.answer(request(StatisticsTask(0, sent.architecture, sent.expert), Config()))
    assert "refuses the request" in answer.reason
    judged = place.answer(request(EvaluateTask(0, sent.architecture, sent.expert), Config()))
    assert not judged.reason
    _, tensors = container.unpack(judged.body, answer_codec.RESULT, "answer")
    assert all(int(tensor.sum()) == 0 for tensor in tensors.values())


def test_a_site_whose_file_names_no_epsilon_refuses_a_private_run() -> None:
    """Its door has told the count of its samples already."""
    answer = desk(privacy=PrivacyConfig()).answer(request(ContributeTask(0), Config().with_values(PRIVATE)))
    assert "refuses the request" in answer.reason


def test_an_answer_from_before_privacy_is_not_recalled(tmp_path: Path) -> None:
    ask = request(ContributeTask(0), Config())
    before = contributed(desk(tmp_path, PrivacyConfig()).answer(ask))
    after = contributed(desk(tmp_path).answer(ask))
    again = contributed(desk(tmp_path).answer(ask))
    assert before.privacy is None
    assert after.privacy is not None
    assert after.to_bytes() == again.to_bytes()  # one release: asked again, the same noise


def test_the_file_of_a_site_sets_it(tmp_path: Path) -> None:
    (tmp_path / "d.parquet").write_bytes(b"")
    lines = ["client = 0", 'data = "d.parquet"', 'model = "discriminant"', "epsilon = 1.5", "delta = 1e-6"]
    (tmp_path / "site.toml").write_text("\n".join([*lines, "[server]", 'address = "localhost:9"']))
    assert load_site(tmp_path / "site.toml").privacy == PrivacyConfig(epsilon=1.5, delta=1e-6)


def test_a_site_that_could_not_be_private_is_told_before_it_joins(tmp_path: Path) -> None:
    data = clouds(60)
    np.savez(tmp_path / "d.npz", features=data.samples.only.numpy(), labels=data.labels.numpy())
    for lines, words in (
        (['model = "random_forest"', "epsilon = 1.0", "clip = 6.0"], "model 'random_forest' has no noise"),
        (['model = "discriminant"', "epsilon = 1.0"], "set privacy.clip"),
        (['model = "discriminant"', "delta = 1e-6"], "delta without an epsilon above 0 adds no noise"),
        (['model = "discriminant"', "clip = 6.0", "epsilon = 0"], "clip without an epsilon above 0 adds no noise"),
    ):
        head = ["client = 0", 'data = "d.npz"', "classes = 3", *lines]
        (tmp_path / "site.toml").write_text("\n".join([*head, "[server]", 'address = "localhost:9"']))
        with pytest.raises(UsageError, match=words):
            check_data(load_site(tmp_path / "site.toml"))


def test_a_site_with_a_network_is_told_of_group_norm_and_of_too_few_samples_before_it_joins(tmp_path: Path) -> None:
    pytest.importorskip("opacus", reason="the privacy extra is not installed")
    data = clouds(60)
    np.savez(tmp_path / "d.npz", features=data.samples.only.numpy(), labels=data.labels.numpy())
    lines = ["client = 0", 'data = "d.npz"', "classes = 3", 'model = "mlp:8"', "epsilon = 0.5", "clip = 6.0"]
    (tmp_path / "site.toml").write_text("\n".join([*lines, "[server]", 'address = "localhost:9"']))
    with pytest.warns(Note) as notes:
        check_data(load_site(tmp_path / "site.toml"))
    told = " ".join(str(note.message) for note in notes)
    assert "mlp:8 is trained as mlp:8:2:4, with group norm" in told
    assert "client 0: noise for ε = 0.5 is larger than the signal of 60 samples" in told


def test_an_epsilon_without_limit_in_a_site_s_file_is_no_privacy(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", features=clouds(60).samples.only.numpy(), labels=clouds(60).labels.numpy())
    lines = ["client = 0", 'data = "d.npz"', "classes = 3", 'model = "mlp:8"', "epsilon = inf"]
    (tmp_path / "site.toml").write_text("\n".join([*lines, "[server]", 'address = "localhost:9"']))
    assert load_site(tmp_path / "site.toml").epsilon == 0
