"""The grid as values: which cells there are, what each is configured to do, and which cannot run."""

import pytest

from mosaic_fl.comparison.cells import CellResult, remaining_seconds
from mosaic_fl.comparison.grid import CENTRALISED, CLIENT_SETTINGS, Cell, Grid, Setting, all_methods
from mosaic_fl.comparison.plan import make_plan
from mosaic_fl.config import Config, Reader
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import Note

SMALL = {"data.max_train": 120, "data.max_test": 40, "run.workers": 1}


def test_every_setting_has_every_method_and_one_shot_methods_run_once() -> None:
    grid = Grid(["mosaic", "fedavg", CENTRALISED], [5], [0.01, 0.1], ["equal", "mixed"], [1, 20], [0, 1])
    cells = grid.cells()
    # 2 α × 2 architectures × 2 seeds, each with two cells of mosaic, two of fedavg, and one of pooled data.
    assert len(grid.settings()) == 8
    assert len(cells) == len(set(cells)) == len({cell.name for cell in cells}) == 8 * 5
    assert [c.rounds for c in cells if c.method == CENTRALISED] == [1] * 8
    assert (grid.cell_rounds("fedavg", 20), grid.cell_rounds(CENTRALISED, 20)) == (20, 1)
    # All cells of a setting are neighbours: that is where their clients' work is shared.
    assert [c.setting for c in cells] == [s for s in grid.settings() for _ in range(5)]


def test_rounds_are_exchanges_and_mosaic_s_local_steps_those_of_all_others() -> None:
    grid = Grid(["mosaic", "fedavg"], rounds=[1, 20], values={"rounds.steps": 50})
    setting = Setting(5, 0.1, "mixed", 0)

    def rounds(method: str, rounds: int) -> tuple[int, int]:
        config = grid.config(Cell(setting, method, rounds), ["cnn:8", "mlp:8"], "cnn:16")
        return config.rounds.warm_up, config.rounds.steps

    # In one round everybody trains to the end, as the clients of one-shot methods do.
    assert rounds("mosaic", 1) == (0, 0)
    assert rounds("mosaic", 20) == (10, 50)  # ten rounds of averaging, and ten rounds' steps in the exchange
    assert rounds("fedavg", 1) == (1, 0)
    assert rounds("fedavg", 20) == (20, 50)
    optimisers = [
        grid.config(Cell(setting, "fedavg", r), ["cnn:8", "mlp:8"], "cnn:16").rounds.optimiser for r in (1, 20)
    ]
    assert optimisers == ["train", "auto"]


def test_a_cell_s_configuration() -> None:
    grid = Grid(["fedavg"], [3], [0.5], seeds=[7], values={"distill.steps": 9})
    equal, mixed = (grid.config(Cell(s, "fedavg", 1), ["cnn:8", "mlp:8"], "cnn:16") for s in grid.settings())
    assert equal.models.clients == ("cnn:16",)
    assert mixed.models.clients == ("cnn:8", "mlp:8")
    assert equal.run.method == "fedavg"
    assert (equal.partition.clients, equal.partition.alpha, equal.run.seed, equal.distill.steps) == (3, 0.5, 7, 9)


def test_a_method_s_own_settings_lie_below_the_user_s(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from mosaic_fl.methods import METHODS

    card = replace(METHODS["fedavg"], defaults={"train.lr": 0.25, "train.batch_size": 8})
    monkeypatch.setitem(METHODS, "fedavg", card)
    grid = Grid(["fedavg", "mosaic"], values={"train.batch_size": 16})
    setting = grid.settings()[0]
    ours, others = (grid.config(Cell(setting, m, 1), [], "cnn:8").train for m in ("fedavg", "mosaic"))
    assert (ours.lr, ours.batch_size) == (0.25, 16)
    assert (others.lr, others.batch_size) == (2e-3, 16)


def test_a_setting_for_one_method_alone() -> None:
    values = {"distill.steps": 9, "dense:synthesis.epochs": 3, "dense:distill.steps": 4}
    grid = Grid(["dense", "coboosting"], values=values)
    setting = grid.settings()[0]
    dense, other = (grid.config(Cell(setting, method, 1), [], "cnn:8") for method in grid.methods)
    assert (dense.synthesis.epochs, dense.distill.steps) == (3, 4)
    assert (other.synthesis.epochs, other.distill.steps) == (Config().synthesis.epochs, 9)
    assert grid.base().distill.steps == 9
    assert grid.options()["set dense:synthesis.epochs"] == "3"  # a resumed grid must say the same


def test_a_resumed_grid_must_say_what_lies_over_the_settings_of_a_paper_even_if_it_is_everybodys_default() -> None:
    values = {"synthesis.temperature": Config().synthesis.temperature, "meta.steps": 9}
    assert Grid(["dense"], values=values).base().synthesis == Grid(["dense"]).base().synthesis  # so this does not tell
    assert Grid(["mosaic", "dense"], values=values).options().keys() - Grid(["dense"]).options().keys() == {
        "set synthesis.temperature"
    }
    assert Grid(["mosaic"], values=values).options().keys() == Grid(["mosaic"]).options().keys()


def test_rounds_of_an_aggregator_are_no_axis_and_can_be_set() -> None:
    grid = Grid(["fens", "mosaic"], rounds=[1, 3], values={"fens:rounds.warm_up": 7})
    fens = next(cell for cell in grid.cells() if cell.method == "fens")
    assert grid.config(fens, [], "cnn:8").rounds.warm_up == 7


def test_the_optimiser_of_a_single_round_is_that_of_training_unless_it_is_said() -> None:
    for values, kind in (({}, "train"), ({"rounds.optimiser": "sgd", "rounds.lr": 0.05}, "sgd")):
        grid = Grid(["fedavg"], values=values)
        assert grid.config(grid.cells()[0], [], "cnn:8").rounds.optimiser == kind


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"values": {"dens:synthesis.epochs": 3}}, "unknown method 'dens'"),
        ({"values": {"fedavg:synthesis.epochs": 3}}, "unknown method 'fedavg'"),
        ({"values": {"mosaic:run.seed": 3}}, "say --seeds"),
        ({"values": {"mosaic:distill.stepps": 3}}, "unknown setting"),
        ({"methods": ["mosiac"]}, "unknown method 'mosiac': did you mean mosaic"),
        ({"architectures": ["equals"]}, "unknown architectures 'equals': did you mean equal"),
        ({"seeds": []}, "--seeds is empty"),
        ({"seeds": [0, 1, 0]}, "--seeds names 0 twice"),
        ({"seeds": [-1]}, "run.seed"),
        ({"rounds": [0]}, "--rounds 0"),
        ({"clients": [0]}, "partition.clients"),
        ({"alphas": [0.1, -1.0]}, "partition.alpha"),
        ({"values": {"partition.alpha": 3}}, "say --alpha"),
        ({"values": {"distil.steps": 3}}, "unknown section"),
        ({"preset": "papr"}, "unknown preset"),
        ({"values": {"run.engine": "flower"}}, "run.engine: .* mosaic run has --engine"),
        ({"values": {"run.centralised": True}}, "run.centralised: .* --methods centralised"),
        ({"alphas": [0.1, 0.5], "values": {"partition.split": "iid"}}, "--alpha 0.1,0.5: the split iid has none"),
    ],
)
def test_a_wrong_grid(axes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Grid(**{"methods": ["mosaic"], **axes})


def test_what_a_setting_lacks_is_said_in_words() -> None:
    plan = make_plan(Grid(["mosaic", "fedavg"], [2], values=SMALL))
    assert [str(cell.method) for cell in plan.runnable] == ["mosaic", "fedavg", "mosaic"]
    assert list(plan.barred.values()) == ["needs equal architectures"]


def test_a_check_of_a_method_bars_its_cells_and_no_other() -> None:
    values = {**SMALL, "generator.family": "none", "distill.prior": "none"}
    plan = make_plan(Grid(["mosaic", "fedavg"], [2], architectures=["equal"], values=values))
    assert [cell.method for cell in plan.runnable] == ["fedavg"]
    assert "generator.family is none" in next(iter(plan.barred.values()))


def test_a_split_that_cannot_be_drawn_bars_its_settings() -> None:
    values = {**SMALL, "partition.min_samples": 15, "partition.retries": 3}
    plan = make_plan(Grid(["fedavg"], [2, 30], [1.0], ["equal"], values=values))
    assert {cell.setting.clients for cell in plan.barred} == {30}
    assert "clients" in next(iter(plan.barred.values()))


def test_clients_that_are_all_too_small_for_a_generator_bar_the_methods_that_need_one() -> None:
    values = {**SMALL, "generator.min_samples": 100, "distill.prior": "none"}
    plan = make_plan(Grid(["mosaic", "fedavg", "mean_logits"], [2], [1.0], ["equal"], values=values))
    assert [cell.method for cell in plan.runnable] == ["fedavg", "mean_logits"]
    assert "lower generator.min_samples" in next(iter(plan.barred.values()))


def test_a_grid_without_a_runnable_cell() -> None:
    with pytest.raises(UsageError, match="no cell of this grid can run.*fedavg.*needs equal architectures"):
        make_plan(Grid(["fedavg"], [2], architectures=["mixed"], values=SMALL))


def test_mixed_architectures_are_at_least_two() -> None:
    """Where equal ones are asked for too, these are compared, and a note says what is left out."""
    values = {**SMALL, "models.clients": ["cnn:8"]}
    with pytest.raises(UsageError, match="not cnn:8 alone: say --models cnn:16,mlp:64, or --architectures equal"):
        make_plan(Grid(["mosaic"], [2], architectures=["mixed"], values=values))
    with pytest.warns(Note, match="not cnn:8 alone, so they are left out"):
        plan = make_plan(Grid(["mosaic"], [2], values=values))
    assert plan.grid.architectures == ("equal",)
    with pytest.raises(UsageError, match="unknown model 'cmn'"):
        make_plan(Grid(["mosaic"], [2], values={**SMALL, "models.student": "cmn:8"}))


def test_what_a_site_trains_by_is_the_clients_work() -> None:
    trained_by = {name for name, section in Config.sections().items() if Reader.TRAINING in section.readers}
    assert {f"{name}." for name in trained_by - {"run", "data", "audit"}} == set(CLIENT_SETTINGS) - {"rounds."}


def test_seconds_left_are_those_of_the_nearest_cells() -> None:
    setting, other = Setting(5, 0.1, "equal", 0), Setting(5, 0.1, "equal", 1)
    assert remaining_seconds([Cell(setting, "mosaic", 1)], {}) is None
    results = {
        Cell(setting, "mosaic", 1): CellResult("done", seconds=10),
        Cell(setting, "fedavg", 1): CellResult("done", seconds=2),
        Cell(setting, "fedavg", 20): CellResult("done", seconds=36),
        Cell(setting, "fedbn", 1): CellResult("failed", seconds=1000),
    }
    left = [Cell(other, "fedavg", 20), Cell(other, "fedavg", 5), Cell(other, "heterofl", 1)]
    # The same method and rounds: 36; the same method: (2 + 36)/2; none alike: (10 + 2 + 36)/3.
    assert remaining_seconds(left, results) == pytest.approx(36 + 19 + 16)


def test_all_is_every_method_and_the_line_of_pooled_data() -> None:
    from mosaic_fl.methods import METHODS

    assert all_methods() == [*METHODS, CENTRALISED]


@pytest.mark.parametrize(("rounds", "averaging", "last"), [(2, 1, 50), (3, 1, 100), (5, 2, 150), (20, 10, 500)])
def test_a_warmed_method_has_as_many_local_steps_as_all_others(rounds: int, averaging: int, last: int) -> None:
    grid = Grid(["mosaic"], rounds=[rounds], values={"rounds.steps": 50})
    config = grid.config(Cell(grid.settings()[0], "mosaic", rounds), [], "cnn:8")
    assert (config.rounds.warm_up, config.train.min_steps, config.train.max_steps) == (averaging, last, last)
    assert averaging * 50 + last == rounds * 50


def test_a_warmed_method_s_own_steps_lie_over_those() -> None:
    grid = Grid(["mosaic"], rounds=[4], values={"rounds.steps": 50, "mosaic:train.max_steps": 777})
    config = grid.config(Cell(grid.settings()[0], "mosaic", 4), [], "cnn:8")
    assert (config.rounds.warm_up, config.train.max_steps) == (2, 777)


def test_rounds_without_a_number_of_steps_train_to_the_end_and_so_does_the_exchange() -> None:
    grid = Grid(["mosaic"], rounds=[20])
    config = grid.config(Cell(grid.settings()[0], "mosaic", 20), [], "cnn:8")
    assert (config.rounds.warm_up, config.train) == (19, Config().train)


def test_an_aggregator_keeps_its_own_rounds() -> None:
    grid = Grid(["fens"], rounds=[20], values={"rounds.steps": 50})
    setting = grid.settings()[0]
    fens = grid.config(Cell(setting, "fens", 1), [], "cnn:8").rounds
    assert (fens.warm_up, fens.steps) == (100, 5)
    paper = Grid(["mosaic", "fedavg", "fens"], rounds=[20], preset="paper")  # which has rounds of 10 steps
    mosaic, fedavg, fens = (paper.config(Cell(setting, m, 20), [], "cnn:8") for m in paper.methods)
    assert (mosaic.train.max_steps, fedavg.rounds.steps) == (100, 10)
    assert (fens.rounds.warm_up, fens.rounds.steps) == (100, 5)
    own = Grid(["fens"], values={"fens:rounds.steps": 7}).config(Cell(setting, "fens", 1), [], "cnn:8")
    assert (own.rounds.warm_up, own.rounds.steps) == (100, 7)


def test_settings_that_differ_have_names_that_differ() -> None:
    names = {Setting(5, alpha, "equal", 0).name for alpha in (0.1234561, 0.1234564)}
    assert len(names) == 2


def test_what_a_method_does_not_ask_for_no_preset_brings_back() -> None:
    grid = Grid(["dense"], preset="paper")
    config = grid.config(Cell(grid.settings()[0], "dense", 1), [], "cnn:8")
    assert (config.generator.family, config.prototypes.per_class) == ("none", 0)
