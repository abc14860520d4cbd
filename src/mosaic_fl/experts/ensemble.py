"""Ensembles of trees that grow: joined, scaled, cut short, as tensors on the way, and as XGBoost's JSON in the end."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.experts.boosted import DEEPEST, JSON, MAX_TREES, STATISTICS, BoostedTrees, width_of
from mosaic_fl.numerics.states import State

MAX_NODES = 2**22
PARTS = ("roots", "outputs", "feature", "left", "right")
FORMAT = [3, 0, 0]  # of the JSON: what XGBoost 2 and 3 read


def empty(classes: int) -> BoostedTrees:
    """No trees."""
    nothing = torch.zeros(0, dtype=torch.int64)
    return BoostedTrees(classes, nothing, nothing, nothing, torch.zeros(0), nothing, nothing, 0)


def joined(parts: Sequence[BoostedTrees]) -> BoostedTrees:
    """All trees of at least one part, in order."""
    starts = torch.tensor([0, *(len(part.feature) for part in parts)]).cumsum(0).tolist()
    shifted = list(zip(parts, starts, strict=False))
    return BoostedTrees(
        parts[0].classes,
        torch.cat([part.roots + start for part, start in shifted]),
        torch.cat([part.outputs for part in parts]),
        torch.cat([part.feature for part in parts]),
        torch.cat([part.value for part in parts]),
        torch.cat([part.left + start for part, start in shifted]),
        torch.cat([part.right + start for part, start in shifted]),
        max(part.depth for part in parts),
    )


def scaled(trees: BoostedTrees, weight: float) -> BoostedTrees:
    """The trees with `weight` times the values of their leaves."""
    is_leaf = trees.left == torch.arange(len(trees.left))
    return replace(trees, value=torch.where(is_leaf, (trees.value.double() * weight).float(), trees.value))


def between(trees: BoostedTrees, first: int, last: int) -> BoostedTrees:
    """Trees number `first` to `last` − 1."""
    ends = [*trees.roots.tolist(), len(trees.feature)]
    start, end = ends[first], ends[last]
    return BoostedTrees(
        trees.classes,
        trees.roots[first:last] - start,
        trees.outputs[first:last],
        trees.feature[start:end],
        trees.value[start:end],
        trees.left[start:end] - start,
        trees.right[start:end] - start,
        trees.depth,
    )


def to_state(trees: BoostedTrees) -> State:
    """Tensors that a message can carry; the inverse of `of_state`."""
    return {"value": trees.value, **{name: getattr(trees, name) for name in PARTS}}


def of_state(state: State, schema: Schema, source: str) -> BoostedTrees:
    """The trees of tensors that may come from anywhere, perhaps none; raises UsageError that names the `source`."""
    if state.keys() != {"value", *PARTS}:
        raise UsageError(f"{source}: these tensors are no trees")
    numbers = {name: state[name] for name in PARTS}
    value = state["value"]
    count = len(value)
    lengths = {name: numbers[name].shape for name in PARTS}
    number = numbers["roots"].numel()
    if (
        any(numbers[name].dtype != torch.int64 for name in PARTS)
        or value.dtype != torch.float32
        or any(lengths[name] != (count,) for name in ("feature", "left", "right"))
        or lengths["roots"] != lengths["outputs"]
        or lengths["roots"] != (number,)
        or number > MAX_TREES
        or count > MAX_NODES
        or not bool(value.isfinite().all())
    ):
        raise UsageError(f"{source}: these tensors are no trees of at most {MAX_NODES:,} nodes")
    trees = BoostedTrees(schema.num_classes, value=value, depth=0, **numbers)
    if defect := _defect(trees, width_of(schema)):
        raise UsageError(f"{source}: {defect}")
    return replace(trees, depth=_depth(trees, source))


def _defect(trees: BoostedTrees, width: int) -> str:
    """What is wrong with the numbers of the trees, in words, or nothing."""
    roots = trees.roots
    count = len(trees.feature)
    if not len(roots):
        return "nodes without a tree" if count else ""
    ends = torch.cat([roots[1:], torch.tensor([count])])
    if int(roots[0]) or bool((ends <= roots).any()):
        return "trees that do not follow each other"
    least = 1 if trees.classes == 2 else 0
    if bool(((trees.outputs < least) | (trees.outputs >= trees.classes)).any()):
        return "a tree that adds to no class"
    if bool(((trees.feature < 0) | (trees.feature >= width)).any()):
        return "a split of no feature"
    nodes = torch.arange(count)
    inner = nodes[(trees.left != nodes) | (trees.right != nodes)]
    end = torch.repeat_interleave(ends, ends - roots)[inner]
    children = torch.cat([trees.left[inner], trees.right[inner]])
    if bool((children <= inner.repeat(2)).any()) or bool((children >= end.repeat(2)).any()):  # so there is no circle
        return "a tree whose nodes do not fit together"
    if len(torch.cat([children, roots]).unique()) != count or len(children) + len(roots) != count:
        return "a tree whose nodes do not fit together"
    return ""


def _depth(trees: BoostedTrees, source: str) -> int:
    """The greatest depth; raises UsageError where it is more than `DEEPEST`."""
    level = trees.roots
    for depth in range(DEEPEST + 1):
        level = level[trees.left[level] != level]
        if not len(level):
            return depth
        level = torch.cat([trees.left[level], trees.right[level]])
    raise UsageError(f"{source}: a tree deeper than {DEEPEST}")


def json_state(trees: BoostedTrees, schema: Schema) -> State:
    """The state of a global model: XGBoost's JSON, which XGBoost reads, too. It has none of its training's figures."""
    binary = schema.num_classes == 2
    width = width_of(schema)
    outputs = [0] * len(trees.outputs) if binary else trees.outputs.tolist()
    count = len(outputs)
    pieces = [_tree(between(trees, number, number + 1), number, width) for number in range(count)]
    ends = [*(number for number in range(1, count) if outputs[number] <= outputs[number - 1]), count]
    objective: dict[str, Any] = {"name": "binary:logistic", "reg_loss_param": {"scale_pos_weight": "1"}}
    if not binary:
        parameters = {"num_class": str(schema.num_classes)}
        objective = {"name": "multi:softprob", "softmax_multiclass_param": parameters}
    learner = {
        "attributes": {},
        "feature_names": [],
        "feature_types": [],
        "gradient_booster": {
            "model": {
                "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(count)},
                "iteration_indptr": [0, *(range(1, count + 1) if binary else ends)],
                "tree_info": outputs,
                "trees": pieces,
            },
            "name": "gbtree",
        },
        "learner_model_param": {
            "base_score": "5E-1" if binary else "0E0", "boost_from_average": "0", "num_class": "0" if binary else
            str(schema.num_classes), "num_feature": str(width), "num_target": "1",
        },
        "objective": objective,
    }  # fmt: skip
    text = json.dumps({"learner": learner, "version": FORMAT}, separators=(",", ":")).encode()
    return {JSON: torch.frombuffer(bytearray(text), dtype=torch.uint8)}


def _tree(tree: BoostedTrees, number: int, width: int) -> dict[str, Any]:
    """One tree in XGBoost's JSON, whose leaves have no children and whose splits send nothing missing anywhere."""
    nodes = torch.arange(len(tree.left))
    is_leaf = tree.left == nodes
    parents = torch.full((len(nodes),), 2**31 - 1)
    for children in (tree.left, tree.right):
        parents[children[~is_leaf]] = nodes[~is_leaf]

    left, right = (torch.where(is_leaf, -1, which).tolist() for which in (tree.left, tree.right))
    zeros = [0] * len(nodes)
    return {
        **{name: [0.0] * len(nodes) for name in STATISTICS},
        "categories": [], "categories_nodes": [], "categories_segments": [], "categories_sizes": [],
        "default_left": zeros, "id": number, "left_children": left, "parents": parents.tolist(),
        "right_children": right, "split_conditions": tree.value.tolist(),
        "split_indices": torch.where(is_leaf, 0, tree.feature).tolist(), "split_type": zeros,
        "tree_param": {
            "num_deleted": "0", "num_feature": str(width), "num_nodes": str(len(nodes)), "size_leaf_vector": "1",
        },
    }  # fmt: skip
