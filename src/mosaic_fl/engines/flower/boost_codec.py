"""Requests and answers of boosting as values and tensors; `codec` packs them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.config import Config
from mosaic_fl.domains.schema import Schema
from mosaic_fl.engines.flower.wire import is_figure
from mosaic_fl.engines.tasks import BoostTask
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import MAX_COUNT
from mosaic_fl.exchange.federation import HIGHEST_LOSS, MAX_SUM, Fitted, GrowJob, SumJob
from mosaic_fl.experts.bins import bins_of
from mosaic_fl.experts.ensemble import of_state
from mosaic_fl.numerics.states import State, under


def boost_parts(task: BoostTask) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The JSON values and the tensors of the task."""
    job = task.job
    tensors = {f"trees/{name}": tensor for name, tensor in job.trees.items()}
    if isinstance(job, GrowJob):
        return {"settings": dict(job.settings), "round": task.round}, tensors
    tensors |= {"nodes": job.nodes, **{f"growing/{name}": tensor for name, tensor in job.growing.items()}}
    return {"bins": job.bins, "round": task.round}, tensors


def boost_task(values: Mapping[str, Any], tensors: State, client: int, config: Config) -> BoostTask:
    """The inverse of `boost_parts`, of values from any source; raises UsageError for anything else."""
    trees = under("trees/", tensors)
    job: GrowJob | SumJob
    match values:
        case {"settings": dict(settings), "round": int(round)}:
            job = GrowJob(trees, settings)
        case {"bins": int(bins), "round": int(round)} if "nodes" in tensors:
            settings = {"bins": bins}
            job = SumJob(trees, under("growing/", tensors), tensors["nodes"], bins)
        case _:
            raise UsageError("request: its boosting is malformed")
    config.with_values({f"boosting.{key}": value for key, value in settings.items()})
    return BoostTask(client, job, round)


def boosted_answer(
    manifest: Mapping[str, Any], tensors: State, client: int, job: GrowJob | SumJob, schema: Schema
) -> Fitted:
    """The answer to `job`: sums of the shape that was asked for, or one tree a class; raises UsageError for others."""
    state = under("state/", {name: tensor for name, tensor in tensors.items() if name.startswith("state/")})
    if isinstance(job, SumJob):
        _check_sums(state, (len(job.nodes), bins_of(schema, job.bins).total, 2))
    else:
        outputs = of_state(state, schema, "answer").outputs.tolist()
        if outputs != ([1] if schema.num_classes == 2 else list(range(schema.num_classes))):
            raise UsageError("answer: it is not one tree a class")
    match manifest:
        case {"samples": int(samples), "validation": {"loss": loss, "samples": rows, **rest}} if (
            0 < samples <= MAX_COUNT
            and not rest
            and is_figure(loss)
            and is_figure(rows)
            and 0 <= loss <= HIGHEST_LOSS
            and 0 <= rows <= MAX_COUNT
        ):
            return Fitted(client, state, samples, {"loss": loss, "samples": rows})
    raise UsageError("answer: its manifest is not one of boosting")


def _check_sums(state: State, shape: tuple[int, ...]) -> None:
    sums = state.get("sums")
    if len(state) != 1 or sums is None or sums.dtype != torch.int64 or sums.shape != shape:
        raise UsageError(f"answer: these are no sums of {shape[0]} nodes and {shape[1]} bins")
    if bool(((sums > MAX_SUM) | (sums < -MAX_SUM)).any()):
        raise UsageError("answer: sums that no rows can have")
