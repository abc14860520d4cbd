"""Clients that are away, by hand: what is averaged, kept, served and counted is of those who answered, by number."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from faulty import CPU, FaultyFederation, Lost, everywhere, nobody, same, three
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import MosaicError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.methods.averaging import averaging_rounds
from mosaic_fl.methods.dense import dense
from mosaic_fl.methods.dense import distil as dense_distil
from mosaic_fl.methods.dfrd import dfrd
from mosaic_fl.methods.fedavg import fedavg
from mosaic_fl.methods.fedbn import fedbn
from mosaic_fl.methods.feddf import feddf
from mosaic_fl.methods.fens import fens
from mosaic_fl.methods.mosaic import mosaic
from mosaic_fl.methods.outcome import Method, Outcome
from mosaic_fl.methods.references import best_local, mean_logits
from mosaic_fl.methods.sending import by_client, sizes_of_others, upload_size
from mosaic_fl.methods.width import heterofl, static_batch_norm
from mosaic_fl.models import build
from mosaic_fl.models.fusion import Aggregator
from mosaic_fl.numerics.states import State, copy_state
from mosaic_fl.server.distill import distill
from mosaic_fl.server.experts import MixtureOfExperts
from mosaic_fl.storage import container
from mosaic_fl.storage.journal import Journal, Stage
from mosaic_fl.training.monitor import Recorder

NORM = "body.2."  # the normalisation of an mlp


def run(method: Method, federation: FaultyFederation) -> Outcome:
    with federation:
        return method(federation, federation.config, CPU, federation.journal)


def state(outcome: Outcome) -> State:
    assert outcome.model is not None
    return outcome.model.state


def mean(one: Tensor, other: Tensor, share: float) -> Tensor:
    return (share * one.double() + (1 - share) * other.double()).float()


def test_fedavg_is_the_average_of_those_that_answered(digits: Dataset) -> None:
    """Of 40, 60 and 80 samples, where the second is away: θ = (40·θ₀ + 80·θ₂)/120."""
    federation = three(digits, [("fit", 1, 0)], data_validation=0.0, rounds_warm_up=1)
    outcome = run(fedavg, federation)
    assert [job.client for job in federation.jobs[0]] == [0, 1, 2]  # it was asked
    with three(digits, data_validation=0.0) as there:
        first, _, last = (fitted.state for fitted in there.fit(federation.jobs[0], 0))
    for name, tensor in state(outcome).items():
        if tensor.is_floating_point():
            assert torch.allclose(tensor, mean(first[name], last[name], 1 / 3), atol=1e-7), name
    assert federation.journal.done["round-0000"].info == {"participants": [0, 2]}


def test_only_an_answer_is_traffic(digits: Dataset) -> None:
    federation = three(digits, [("fit", 1, 0), ("fit", 0, 2), ("fit", 1, 2)], rounds_warm_up=3)
    outcome = run(fedavg, federation)
    assert outcome.model is not None
    size = len(outcome.model.to_bytes())
    assert outcome.bytes_up == [2 * size, size, 3 * size]
    assert outcome.bytes_down == [3 * size, 2 * size, 4 * size]  # the result goes to all


def test_a_group_none_of_whose_clients_answers_stays_as_it_was(digits: Dataset) -> None:
    groups = {0: "mlp:4:1", 1: "mlp:8:1", 2: "mlp:4:1"}
    with three(digits, [("fit", 1, None)], models=list(groups.values())) as federation:
        start = {name: copy_state(build(name, digits.schema)) for name in ("mlp:4:1", "mlp:8:1")}
        config = federation.config.rounds
        end = averaging_rounds(federation, groups, start, range(1), config, 0, federation.journal)
    assert same(end["mlp:8:1"], start["mlp:8:1"])
    assert not same(end["mlp:4:1"], start["mlp:4:1"])


def test_nobody_to_evaluate_leaves_the_accuracy_out_of_the_log(digits: Dataset) -> None:
    federation = three(digits, [("evaluate", k, 0) for k in range(3)])
    run(fedavg, federation)
    logged = [federation.journal.done[f"round-{round:04d}"].metrics for round in range(2)]
    assert logged[0] == [{"step": 0}]
    assert set(logged[1][0]) == {"step", "validation_accuracy mlp:4:1"}


def test_nobody_to_train_is_the_engines_fault_not_the_methods(digits: Dataset) -> None:
    with pytest.raises(MosaicError, match="fit: 0 of 3 clients answered"):
        run(fedavg, three(digits, nobody("fit")))


def test_fedbns_clients_keep_their_own_while_they_are_away(digits: Dataset, tmp_path: Path) -> None:
    """Client 1 misses round 1: it begins round 2 with its normalisation of round 0, and that counts all the while."""
    lost, kept = [("fit", 1, 1)], list[State]()
    for rounds in (1, 2, 3):  # each goes on where the last one was
        journal = Journal(tmp_path)
        federation = three(digits, lost, journal, rounds_warm_up=rounds, data_validation=0.0)
        outcome = run(fedbn, federation)
        kept.append(journal.done[f"round-{rounds - 1:04d}"].tensors)
        if rounds == 2:
            served, name = state(outcome), NORM + "running_mean"
    own = [{k: tensors[f"client-{k:03d}/{name}"] for k in range(3)} for tensors in kept]
    assert torch.equal(own[1][1], own[0][1])
    assert not torch.equal(own[1][0], own[0][0])
    (jobs,) = federation.jobs  # of round 2 alone
    assert [job.client for job in jobs] == [0, 1, 2]
    assert torch.equal(jobs[1].state[name], own[0][1])
    assert torch.allclose(served[name], (40 * own[1][0] + 60 * own[0][1] + 80 * own[1][2]) / 180, atol=1e-7)
    assert [journal.recall(f"round-{r:04d}").info["participants"] for r in range(3)] == [[0, 1, 2], [0, 2], [0, 1, 2]]


def test_channels_that_nobody_who_answered_holds_stay_as_they_were(digits: Dataset) -> None:
    """Client 0 alone has all four units; the others have the first one."""
    lost = [("fit", 0, None), ("statistics", 2, None)]
    federation = three(digits, lost, rounds_warm_up=1, models_ratios=[1.0, 0.25, 0.25], rounds_masked=False)
    outcome = run(heterofl, federation)
    begin, end = federation.jobs[0][0].state["body.1.weight"], state(outcome)["body.1.weight"]
    assert torch.equal(end[1:], begin[1:])
    assert not torch.equal(end[0], begin[0])
    job = federation.jobs[0][1]
    part = len(GlobalModel(job.architecture, digits.schema, job.state).to_bytes())
    found = {name: tensor for name, tensor in state(outcome).items() if "running_" in name}
    measured, full = len(container.pack("statistics", {}, found)), len(outcome.model.to_bytes())
    assert outcome.bytes_up == [measured, part + measured, part]
    assert outcome.bytes_down == [full + full, part + full + full, part + full]


def test_static_batch_norm_is_of_those_that_measured(digits: Dataset) -> None:
    """Of the pooled pixels of clients 0 and 2, for the first layer; without anybody it is as it was."""
    net = build("mlp:4:1", digits.schema)
    before, after = copy_state(net), list[State]()
    for lost in ([("statistics", 1, None)], nobody("statistics")):
        with three(digits, lost, data_validation=0.0) as federation:
            after.append(static_batch_norm(federation, "mlp:4:1", before, "statistics", federation.journal))
            told = federation.journal.done["statistics"].info
        assert told == {"participants": [0, 2] if len(lost) == 1 else []}
    data = torch.cat([digits.subset(range(40)).images, digits.subset(range(200, 280)).images])
    seen: list[Tensor] = []
    layer = next(module for module in net.modules() if isinstance(module, torch.nn.BatchNorm1d))
    layer.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    net.eval()(data.float() / 127.5 - 1)
    assert torch.allclose(after[0][NORM + "running_mean"], seen[0].mean(0), atol=1e-5)
    assert same(after[1], before)


def test_dfrds_experts_are_of_the_widths_of_those_that_answered(digits: Dataset) -> None:
    more = {"rounds_kind": "heterofl", "models_ratios": [1.0, 0.5, 0.25], "rounds_warm_up": 1}
    federation = three(digits, [("fit", 0, 0), ("statistics", 1, 1)], **more)
    outcome = run(dfrd, federation)
    full = len(outcome.model.to_bytes())
    sizes = [len(GlobalModel(j.architecture, digits.schema, j.state).to_bytes()) for j in federation.jobs[0]]
    assert outcome.bytes_down == [3 * full, sizes[1] + 2 * full, sizes[2] + 3 * full]


def test_feddf_takes_generators_and_weights_from_whoever_sends_them(digits: Dataset) -> None:
    federation = three(digits, [("contribute", 0, 0), ("fit", 2, None)])
    outcome = run(feddf, federation)
    size = len(outcome.model.to_bytes())
    with three(digits) as there:
        _, *sent = (upload_size(c, expert=False, generator=True) for c in there.contribute())
    assert outcome.bytes_up == [2 * size, sent[0] + 2 * size, sent[1]]
    assert outcome.bytes_down == [3 * size, 3 * size, size]


def contributions(digits: Dataset, **more: object) -> list[Contribution]:
    with three(digits, **more) as federation:
        return federation.contribute()


def test_mosaic_without_a_client_is_the_distillation_of_the_others(digits: Dataset) -> None:
    models = ["mlp:8:1", "mlp:6:1", "mlp:4:1"]
    federation = three(digits, everywhere(1), models=models, rounds_warm_up=0)
    outcome = run(mosaic, federation)
    first, _, last = made = contributions(digits, models=models)
    alone = distill([last, first], federation.config, CPU, Journal())
    assert same(state(outcome), alone.model.state)
    assert not same(state(outcome), distill(made, federation.config, CPU, Journal()).model.state)
    assert outcome.bytes_up == [len(first.to_bytes(figures=True)), 0, len(last.to_bytes(figures=True))]
    assert outcome.bytes_down == [len(outcome.model.to_bytes())] * 3
    assert outcome.distilled is not None
    assert outcome.distilled.clients.owners == (0, 2)


def test_mosaics_start_is_sent_with_the_question_and_its_rounds_with_their_answers(digits: Dataset) -> None:
    federation = three(digits, [("contribute", 1, 0), ("fit", 0, 1)])
    outcome = run(mosaic, federation)
    size = len(replace(outcome.model, assurance=None).to_bytes())  # all models are alike: two rounds, the start
    student = len(outcome.model.to_bytes())
    assert outcome.bytes_down == [2 * size + student, 2 * size + student, 3 * size + student]
    assert outcome.bytes_up[1] == 2 * size
    assert min(outcome.bytes_up[0] - size, outcome.bytes_up[2] - 2 * size) > size


def test_recipes_that_nobody_judged_are_not_chosen(digits: Dataset) -> None:
    """Of five candidates two were judged: the first and the last. Of none judged the configuration's is taken."""
    told = {}
    for name, unheard in (("some", (1, 2, 3)), ("none", range(5))):
        lost: Lost = [("evaluate", k, at) for k in range(3) for at in unheard]
        outcome = run(mosaic, three(digits, lost, rounds_warm_up=0, distill_choose=True))
        assert outcome.distilled is not None
        told[name] = outcome.distilled.choice
    assert [score is None for score in told["some"]["validation"].values()] == [False, True, True, True, False]
    assert told["some"]["label"] in (told["none"]["label"], 1.0)
    assert set(told["none"]["validation"].values()) == {None}
    unasked = run(mosaic, three(digits, [], rounds_warm_up=0)).distilled
    assert unasked is not None
    assert {key: told["none"][key] for key in ("teacher", "label", "terms", "recognised", "trust")} == unasked.choice


def test_dense_without_a_client_learns_from_the_others(digits: Dataset) -> None:
    federation = three(digits, [("contribute", 1, 0)], generator_family="none")
    outcome = run(dense, federation)
    first, _, last = (c.without_generator() for c in contributions(digits, generator_family="none"))
    epochs = range(federation.config.synthesis.epochs)
    assert same(state(outcome), dense_distil([first, last], federation.config, CPU, epochs, Stage(), Recorder())[0])
    assert outcome.bytes_up == [len(first.to_bytes(figures=True)), 0, len(last.to_bytes(figures=True))]


def test_fens_asks_clients_whose_models_never_came(digits: Dataset) -> None:
    """Client 0 sends no model but fits in round 1, client 1 the reverse."""
    federation = three(digits, [("contribute", 0, 0), ("fit_fusion", 0, 0), ("fit_fusion", 1, None)])
    outcome = run(fens, federation)
    _, *sent = (upload_size(c, expert=True, counts=False) for c in contributions(digits))
    assert outcome.ensemble is not None
    assert outcome.ensemble.mixture.owners == (1, 2)
    assert [federation.journal.done[f"round-000{r}"].info["participants"] for r in range(2)] == [[2], [0, 2]]
    state = copy_state(Aggregator(2, 10, federation.config.meta.width))
    aggregator = len(container.pack("aggregator", {}, state))
    assert outcome.bytes_up == [aggregator, sent[0], sent[1] + 2 * aggregator]
    down = [sum(sent) + aggregator, sent[1], sent[0] + 2 * aggregator]
    assert outcome.bytes_down == [size + aggregator for size in down]  # with the last one
    with pytest.raises(MosaicError, match="no client that answered held samples back"):
        run(fens, three(digits, nobody("fit_fusion")))


def test_an_ensemble_is_of_the_models_that_came(digits: Dataset) -> None:
    outcome, images = run(mean_logits, three(digits, [("contribute", 0, 0)])), digits.samples[1000:1020]
    _, *made = contributions(digits)
    outputs = MixtureOfExperts.of(made).outputs(images)
    assert torch.equal(outcome.served.logits(images), outputs.mean(1).log_softmax(1))
    sent = [upload_size(c, expert=True, counts=False) for c in made]
    assert (outcome.bytes_up, outcome.bytes_down) == ([0, *sent], [0, *sent[::-1]])
    assert sizes_of_others(by_client({1: 5, 3: 7}, 4)) == [0, 7, 0, 5]


def test_the_best_local_model_is_one_that_somebody_scored(digits: Dataset) -> None:
    """Nobody scores the first of the two models that came, whatever it is worth."""
    lost = [("contribute", 0, 0), *(("evaluate", k, 0) for k in range(3))]
    federation = three(digits, lost)
    outcome = run(best_local, federation)
    first, second = (c for c in contributions(digits) if c.client > 0)
    assert same(state(outcome), second.expert)
    told = federation.journal.done["choice"].info
    assert told["clients"] == [1, 2]
    assert told["validation"][0] is None
    sent = [upload_size(c, expert=True, counts=False) for c in (first, second)]
    assert outcome.bytes_down == [sent[1], *sent[::-1]]  # the first client is sent the best alone


def test_a_silent_client_changes_no_draw_of_who_is_asked(digits: Dataset) -> None:
    asked = []
    for lost in ((), everywhere(1)):
        federation = three(digits, lost, rounds_participation=0.67, rounds_warm_up=3)
        run(fedavg, federation)
        asked.append([[job.client for job in jobs] for jobs in federation.jobs])
    assert asked[0] == asked[1]
