"""Gradient-boosted trees as a global model: the JSON of an XGBoost model, read here and not by XGBoost.

The JSON may come from anywhere, and XGBoost trusts the numbers of nodes in it. So it is read with limits, each number
is checked, and predictions are computed here: they need no XGBoost, which can load the same JSON.
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mosaic_fl.config import TrainConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError, excerpt
from mosaic_fl.experts.kind import ExpertKind
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State
from mosaic_fl.storage import received_json
from mosaic_fl.training.monitor import Monitor

HEAD = "boosted_trees"
JSON = "json"  # the name of its tensor in the state
MAX_BYTES = 2**27
MAX_TREES = 2**17
MAX_LISTS = 32 * MAX_TREES  # in the JSON: a tree has a dozen. An empty list has 3 bytes there, and 64 in memory
DEEPEST = 32
VALUES_AT_ONCE = 2**22
STATISTICS = ("base_weights", "loss_changes", "sum_hessian")
"""Of training, by node: predictions need none of them, and they are most of the JSON."""


@dataclass(frozen=True)
class BoostedTrees:
    """Trees whose leaves' values add up to logits of `classes` classes, or of the second one where there are two.

    All nodes of all trees follow each other, `roots` (T,) are the first of each, `outputs` (T,) the logit it adds to.
    A node's `left` and `right` are its children, and at a leaf itself; `value` is a threshold, and at a leaf what it
    adds.
    """

    classes: int
    roots: Tensor
    outputs: Tensor
    feature: Tensor
    value: Tensor
    left: Tensor
    right: Tensor
    depth: int

    def log_probabilities(self, samples: Samples, device: torch.device | str = "cpu") -> Tensor:
        """float32 (n, C) on the CPU, up to a constant a sample."""
        few = max(1, VALUES_AT_ONCE // len(self.roots))
        return torch.cat([self._margins(rows_of(part)) for part in samples.to("cpu").split(few)])

    def _margins(self, inputs: Tensor) -> Tensor:
        margins = torch.zeros(len(inputs), self.classes)
        return margins.index_add_(1, self.outputs, self.value[self.leaves(inputs)])

    def leaves(self, inputs: Tensor) -> Tensor:
        """The leaf of each tree, int64 (n, T), in which rows float32 (n, width) end."""
        node = self.roots.expand(len(inputs), -1)
        for _ in range(self.depth):
            goes_left = inputs.gather(1, self.feature[node]) < self.value[node]
            node = torch.where(goes_left, self.left[node], self.right[node])
        return node


def rows_of(samples: Samples) -> Tensor:
    """The inputs of a network as rows (n, width)."""
    inputs = samples.inputs()
    parts = [inputs] if isinstance(inputs, Tensor) else list(inputs.values())
    return torch.cat([part.flatten(1) for part in parts], 1)


def width_of(schema: Schema) -> int:
    """The number of values of a row, with a flag for each field where there are several."""
    return schema.size + len(schema.fields) * schema.joins


def state_of(content: bytes) -> State:
    """The state of XGBoost's JSON, without the statistics of its training."""
    model = json.loads(content)
    for tree in model["learner"]["gradient_booster"]["model"]["trees"]:
        tree |= {name: [0.0] * len(tree[name]) for name in STATISTICS}
    text = json.dumps(model, separators=(",", ":")).encode()
    return {JSON: torch.frombuffer(bytearray(text), dtype=torch.uint8)}


def load(name: str, schema: Schema, state: State, source: str) -> BoostedTrees:
    """The trees of a state that may come from anywhere; raises UsageError for anything else."""
    match state:
        case {"json": Tensor(dtype=torch.uint8, ndim=1) as content} if len(state) == 1 and content.numel() <= MAX_BYTES:
            try:
                text = content.numpy().tobytes()
                if (lists := text.count(b"[") + text.count(b"{")) > MAX_LISTS:
                    raise ValueError(f"{lists:,} lists, where {MAX_LISTS:,} are the most")
                return _read(received_json.loads(text.decode()), schema)
            except (KeyError, TypeError, ValueError, OverflowError, IndexError) as error:
                raise UsageError(f"{source}: these are no boosted trees ({excerpt(error, 80)})") from error
    raise UsageError(f"{source}: this is not the state of boosted trees of at most {MAX_BYTES:,} bytes")


def _read(model: Any, schema: Schema) -> BoostedTrees:
    """The trees of XGBoost's JSON; raises ValueError, KeyError, … for what is none that fits the schema."""
    learner = model["learner"]
    booster = learner["gradient_booster"]
    facts = learner["learner_model_param"]
    classes = schema.num_classes
    outputs = [int(number) for number in booster["model"]["tree_info"]]
    trees = booster["model"]["trees"]
    if booster["name"] != "gbtree" or not 1 <= len(trees) <= MAX_TREES or len(trees) != len(outputs):
        raise ValueError("not a list of trees, each with its output")
    if int(facts["num_feature"]) != width_of(schema):
        raise ValueError(f"of {int(facts['num_feature'])} features, where rows have {width_of(schema)}")
    if int(facts["num_class"]) != (0 if classes == 2 else classes):
        raise ValueError(f"of {int(facts['num_class'])} classes, where the schema has {classes}")
    _require_even(received_json.loads(facts["base_score"]), classes)
    if not all(0 <= number < max(1, int(facts["num_class"])) for number in outputs):
        raise ValueError("a tree adds to no class")
    parts = [_tree(tree, width_of(schema)) for tree in trees]
    starts = np.cumsum([0, *(len(part[0]) for part in parts[:-1])])
    columns = [np.concatenate(column) for column in zip(*(part[:4] for part in parts), strict=True)]
    shifts = np.repeat(starts, [len(part[0]) for part in parts])
    return BoostedTrees(
        classes,
        torch.from_numpy(starts),
        torch.tensor([1] * len(outputs) if classes == 2 else outputs),
        torch.from_numpy(columns[0]),
        torch.from_numpy(columns[1]),
        torch.from_numpy(columns[2] + shifts),
        torch.from_numpy(columns[3] + shifts),
        max(part[4] for part in parts),
    )


def _require_even(scores: Any, classes: int) -> None:
    """Raise ValueError unless the base score is even: one number, or a list of one, or of one a class."""
    numbers = scores if isinstance(scores, list) else [scores]
    if len(numbers) not in (1, classes) or any(type(number) not in (int, float) for number in numbers):
        raise ValueError("a base score that is not one number")
    if any(number != (0.5 if classes == 2 else 0.0) for number in numbers):
        raise ValueError("a base score that is not even")


def _tree(tree: Any, features: int) -> tuple[Any, Any, Any, Any, int]:
    """(feature, value, left, right, depth) of one tree in XGBoost's JSON; the children of a leaf are itself."""
    left, right, feature = (
        _whole(tree[name]) for name in ("left_children", "right_children", "split_indices")
    )  # of nodes
    value = np.array(tree["split_conditions"], dtype=np.float32)
    nodes = np.arange(len(left))
    is_leaf = left < 0
    if not len(left) or not len(left) == len(right) == len(feature) == len(value) or value.ndim != 1:
        raise ValueError("a tree whose nodes do not fit together")
    if any(tree.get("split_type", ())) or tree.get("categories"):
        raise ValueError("a tree that splits by categories")
    inner = nodes[~is_leaf]
    children = np.concatenate([left[inner], right[inner]])
    if bool((right[is_leaf] >= 0).any()) or bool((children <= np.tile(inner, 2)).any()):  # so there is no circle
        raise ValueError("a tree whose nodes do not fit together")
    if bool((children >= len(nodes)).any()) or len(np.unique(children)) != len(children):
        raise ValueError("a tree whose nodes do not fit together")
    if bool((feature < 0).any()) or bool((feature >= features).any()) or not bool(np.isfinite(value).all()):
        raise ValueError("a split of no feature, or at no number")
    depth = np.zeros(len(nodes), dtype=np.int64)
    for node in inner.tolist():  # a parent comes before its children
        depth[[left[node], right[node]]] = depth[node] + 1
    if int(depth.max()) > DEEPEST:
        raise ValueError(f"a tree of depth {int(depth.max())}, where {DEEPEST} is the most")
    return feature, value, np.where(is_leaf, nodes, left), np.where(is_leaf, nodes, right), int(depth.max())


def _whole(numbers: Any) -> Any:
    if not isinstance(numbers, list) or any(type(number) is not int for number in numbers):
        raise TypeError("nodes that are no list of whole numbers")
    return np.array(numbers, dtype=np.int64)


def check(name: str, schema: Schema) -> None:
    """Refuse: clients train no such model; `xgboost` is theirs."""
    raise UsageError(f"model {excerpt(name)} is what distillation makes: name xgboost")


def make(name: str, schema: Schema) -> Any:
    """Refuse, as `check` does."""
    check(name, schema)


def fit(
    expert: Any,
    train: Dataset,
    validation: Dataset,
    config: TrainConfig,
    stream: Stream,
    device: torch.device,
    monitor: Monitor,
) -> dict[str, float]:
    """Refuse: there is no expert to fit."""
    raise UsageError(f"a client trains no {HEAD}: name xgboost")


def state(expert: Any) -> State:
    """Refuse: a client has no such model to send."""
    raise UsageError(f"a client sends no {HEAD}: name xgboost")


BOOSTED = ExpertKind(make=make, fit=fit, state=state, load=load, check=check)
