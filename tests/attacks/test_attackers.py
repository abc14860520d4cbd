"""Attacks by name, and who lies."""

import pytest
import torch

from mosaic_fl.attacks.attackers import Attackers, named
from mosaic_fl.config.attack_name import parse
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError
from mosaic_fl.registries import ATTACKS


def test_names() -> None:
    assert all(name == ATTACKS[name].name for name in ATTACKS)
    assert all(attack.poison or attack.forge or attack.update for attack in map(ATTACKS.__getitem__, ATTACKS))
    assert len(set(named().values())) == len(ATTACKS)
    assert parse("backdoor:3") == ("backdoor", 3)
    assert parse("loud")[1] == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("label_fip", "unknown attack 'label_fip': known are label_flip, label_flip_inflated"),
        ("", "unknown attack ''"),
        ("loud:", "behind the colon"),
        ("loud:0", "behind the colon"),
        ("loud:-1", "behind the colon"),
        ("loud:1.5", "behind the colon"),
        ("loud:²", "behind the colon"),
        ("loud:4", "of 4 clients at most 3 can lie"),
        ("loud:99999999999999999999", "at most 3 can lie"),
    ],
)
def test_wrong_words(digits: Dataset, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as error:
        Attackers.of(text, [digits.subset([k]) for k in range(4)], 0)
    assert "\n" not in str(error.value)


def test_the_last_clients_lie(digits: Dataset) -> None:
    shards = [digits.subset(range(20 * k, 20 * k + 20)) for k in range(4)]
    attackers = Attackers.of("label_flip:2", shards, 0)
    assert attackers.liars == (2, 3)
    assert attackers.poison(1, shards[1]) is shards[1]
    assert torch.equal(attackers.poison(2, shards[2]).labels, 9 - shards[2].labels)
    state = {"w": torch.ones(1)}
    assert attackers.update(3, state, state) is state
    boosted = Attackers.of("model_replacement", shards, 0).update(3, state, {"w": torch.zeros(1)})
    assert boosted["w"].tolist() == [-3.0]  # 1 + 4 · (0 − 1)


def test_draws_depend_on_seed_and_client_alone(digits: Dataset) -> None:
    shards = [digits.subset(range(20 * k, 20 * k + 20)) for k in range(4)]
    order = [Attackers.of("class_numbering:2", shards, seed).poison(k, shards[3]).labels for seed, k in
             ((0, 3), (0, 3), (1, 3), (0, 2))]  # fmt: skip
    assert torch.equal(order[0], order[1])
    assert not torch.equal(order[0], order[2])
    assert not torch.equal(order[0], order[3])
