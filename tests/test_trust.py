"""The server's judgement of contributions, on surveys worked out by hand: who is doubted, and who never is."""

from collections.abc import Callable

import pytest
import torch

from mosaic_fl.server.trust.agreement import Agreement
from mosaic_fl.server.trust.counts import bound, cap
from mosaic_fl.server.trust.judgement import Judgement, judge, limit
from mosaic_fl.server.trust.likeness import lookalikes, words
from mosaic_fl.server.trust.survey import Survey, classes_of_a_client, samples_of_a_class
from trust_cases import told

MANY = (100, 100, 100, 100)


def honest(label: int) -> int:
    return label


def flipped(label: int) -> int:
    return 3 - label


def pair(label: int) -> int:
    """Classes 1 and 2 for each other."""
    return {1: 2, 2: 1}.get(label, label)


def judged(survey: Survey) -> Judgement:
    return judge(survey, torch.ones(survey.counts.shape, dtype=torch.float64))


def of(*lies: Callable[[int], int]) -> Judgement:
    """The judgement of clients with many samples of all four classes."""
    return judged(told([MANY] * len(lies), lies))


def nothing(now: Judgement) -> bool:
    return not any((now.expelled, now.generators, now.cells, now.disputed))


def test_nobody_is_doubted_where_all_agree() -> None:
    now = of(*[honest] * 5)
    assert now.usual == 1.0
    assert now.factors.tolist() == [1.0] * 5
    assert nothing(now)


def test_agreement_is_beyond_chance() -> None:
    """A client who always names another class than the rest of four has (0 · 4 − 1) / 3 = −1/3, and the rest 1."""
    survey = told([MANY] * 3, [honest, honest, flipped])
    agreement = Agreement(survey, torch.ones(survey.counts.shape, dtype=torch.float64))
    assert agreement.model_by_class[2].tolist() == pytest.approx([-1 / 3] * 4)
    assert agreement.model_by_class[0].tolist() == pytest.approx([1 / 3] * 4)  # one of two agrees: (½ · 4 − 1) / 3
    assert agreement.counterparts.tolist() == [2, 2, 2]


@pytest.mark.parametrize("liars", [1, 2, 3])
def test_up_to_three_of_ten_are_expelled_and_nobody_else(liars: int) -> None:
    now = of(*[flipped] * liars, *[honest] * (10 - liars))
    assert now.expelled == set(range(liars))
    assert now.factors[liars:].tolist() == [1.0] * (10 - liars)
    assert now.usual == 1.0


def test_claims_of_many_samples_bring_no_more_say() -> None:
    counts = [(10**9,) * 4] * 2 + [MANY] * 4
    assert judged(told(counts, [flipped] * 2 + [honest] * 4)).expelled == {0, 1}


def test_two_clients_contradict_each_other_and_nobody_knows_who_is_right() -> None:
    now = judged(told([MANY] * 2, [honest, flipped]))
    assert now.expelled | now.cells == set()
    assert now.factors.tolist() == [1.0, 1.0]
    assert judged(told([MANY], [honest])).expelled == set()


def test_a_lie_in_two_classes_costs_these_two_and_half_of_the_rest() -> None:
    """Four of six classes agree, (4/6 · 6 − 1) / 5 = 0.6 beyond chance: half way from the limit, 0.5, to 0.7."""
    now = judged(told([(100,) * 6] * 6, [pair, *[honest] * 5]))
    assert now.expelled == set()
    assert now.cells == {(0, 1), (0, 2)}
    assert now.factors.tolist() == pytest.approx([0.5, *[1.0] * 5])


def test_of_two_clients_neither_is_judged_by_its_own_model_either() -> None:
    """Of three one's model that does not know its own generator's samples is a sign: the others know theirs."""
    for clients in (2, 3):
        seen = told([(50,) * 4] * clients, [honest] * clients)
        own = seen.sources == 1
        seen.readings[own, 1] = ((seen.labels[own] + 1) % 4)[:, None]
        now = judged(seen)
        assert now.expelled | now.generators == ({1} if clients == 3 else set())


def test_one_other_holder_is_no_proof() -> None:
    """Clients 0 and 1 alone hold class 3, of which client 0 says another thing."""
    counts = [(50, 50, 50, 50), (50, 50, 50, 50), (50, 50, 50, 0), (50, 50, 50, 0)]
    lie = {3: 0, 0: 0, 1: 1, 2: 2}
    now = judged(told(counts, [lie.__getitem__, honest, honest, honest]))
    assert now.expelled | now.cells == set()
    assert now.disputed == {(0, 3), (1, 3)}


def test_poor_models_judge_nobody() -> None:
    """Where all clients agree by chance alone, none of them is doubted: `limit` is below what guessing gives."""
    survey = told([MANY] * 5, [flipped] + [honest] * 4)
    rng = torch.Generator().manual_seed(0)
    guesses = torch.randint(0, 4, survey.readings.shape[:2], generator=rng)
    survey.readings[:] = guesses[:, :, None]
    now = judged(survey)
    assert nothing(now)
    assert now.factors.tolist() == [1.0] * 5


def test_the_limit_is_half_below_what_is_usual_and_near_nothing_where_that_is_little() -> None:
    assert limit(1.0) == 0.5
    assert limit(0.9) == pytest.approx(0.4)
    assert limit(0.5) == 0.05
    assert limit(0.35) == pytest.approx(0.05)


def test_a_generator_alone_is_doubted_where_the_model_serves() -> None:
    """Client 0's generator shows other classes; its model knows all samples, the others' know what it shows."""
    survey = told([MANY] * 5, [honest] * 5)
    own = survey.sources == 0
    survey.readings[own] = 3 - survey.readings[own]
    now = judged(survey)
    assert now.generators == {0}
    assert now.expelled == set()


def test_what_a_class_looks_like() -> None:
    survey = told([MANY] * 4, [flipped] + [honest] * 3)
    agreement = Agreement(survey, torch.ones(survey.counts.shape, dtype=torch.float64))
    assert lookalikes(agreement, 0) == {0: 3, 1: 2, 2: 1, 3: 0}
    assert words({0: 3, 1: 2}, "abcd") == "its class 'a' looks like the others' 'd', 'b' like 'c'"
    assert words({}, "abcd") == ""
    assert words(dict.fromkeys(range(6), 3), "abcdef").endswith(" and 2 more")


def test_no_client_counts_for_more_than_five_times_the_median() -> None:
    counts = torch.tensor([[100, 0], [60, 40], [100, 0], [800, 200]])
    assert cap(counts).tolist() == [1, 1, 1, 0.5]
    assert cap(counts[2:]).tolist() == [1, 1]  # two have no median that says anything
    assert bound(100, 10) == pytest.approx(0.3)
    assert bound(10, 100) == 1.0


def test_few_samples_are_drawn_where_there_are_many_clients() -> None:
    assert samples_of_a_class(10) == 20
    assert samples_of_a_class(300) == 10
    assert samples_of_a_class(100_000) == 4


@pytest.mark.parametrize(
    ("held", "classes"),
    [
        ([100] * 10, 100),  # 4,000 samples: all classes
        ([1000] * 100, 25),  # 100 · 25 · 4 = 10,000
        ([700] + [1] * 99, 700),  # 2,800 and 99 · 60 of clients with one class
        ([2000] + [1] * 99, 1015),  # 4,060 and 5,940
        ([], 1),
    ],
)
def test_ten_thousand_samples_are_drawn_at_most(held: list[int], classes: int) -> None:
    assert classes_of_a_client(torch.tensor(held, dtype=torch.int64), samples_of_a_class(sum(held))) == classes


def swapping(first: int, second: int) -> Callable[[int], int]:
    """What a client says that takes two classes for each other."""
    return lambda label: {first: second, second: first}.get(label, label)


def test_liars_who_exchange_a_class_that_few_hold_do_not_take_it_from_the_honest() -> None:
    """Class 5 has two honest holders, and two liars who draw classes 0 and 1 as 5: two against one in each honest eye.

    Five others contradict a liar in the class that it gave away. What it draws as 5 shows that class.
    """
    every = (50,) * 6
    others = (50, 50, 50, 50, 50, 0)
    now = judged(told([every, every, others, others, every, every], [honest] * 4 + [swapping(0, 5), swapping(1, 5)]))
    assert now.expelled == set()
    assert now.cells == {(4, 0), (4, 5), (5, 1), (5, 5)}
    assert now.factors[:4].tolist() == [1.0] * 4


def test_a_class_whose_samples_show_one_that_is_doubted_goes_with_it_even_if_nobody_else_claims_it() -> None:
    counts = [(50, 50, 50, 50, 50, 0)] * 3 + [(50,) * 6]
    now = judged(told(counts, [honest] * 3 + [swapping(0, 5)]))
    assert now.cells == {(3, 0), (3, 5)}
    assert now.expelled == set()


def test_a_class_that_nobody_else_claims_stays_where_its_samples_show_no_other() -> None:
    counts = [(50, 50, 50, 50, 50, 0)] * 3 + [(50,) * 6]
    lie = {0: 4}
    now = judged(told(counts, [honest] * 3 + [lambda label: lie.get(label, label)]))
    assert (3, 0) in now.cells
    assert (3, 5) not in now.cells
