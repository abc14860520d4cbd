import torch

from mosaic_fl.numerics.randomness import Stream


def test_the_same_name_gives_the_same_draws() -> None:
    assert torch.equal(
        torch.rand(5, generator=Stream(1, "a", 2, 3).torch()),
        torch.rand(5, generator=Stream(1, "a", 2, 3).torch()),
    )


def test_every_part_of_the_name_matters() -> None:
    names = [
        Stream(0, "a"),
        Stream(1, "a"),
        Stream(0, "b"),
        Stream(0, "a", 1),
        Stream(0, "a", -1, 1),
        Stream(0, "a", 11),
    ]
    assert len({s.integer() for s in names}) == len(names)


def test_ambient_seeds_the_block_and_restores_what_was() -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    with Stream(0, "init").ambient():
        first = torch.rand(3)
    assert torch.equal(torch.rand(1), expected)
    with Stream(0, "init").ambient():
        assert torch.equal(torch.rand(3), first)


def test_ambient_draws_are_those_of_torch_seeded_by_hand() -> None:
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    with Stream(0, "test").ambient():
        drawn = torch.rand(3)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(drawn, torch.rand(3, generator=torch.Generator().manual_seed(Stream(0, "test").integer())))
