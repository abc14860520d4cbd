"""A model card in the form of the Hugging Face Hub: what a global model is, of whom, how good, and how to use it.

Every line is of the model's file or of its run's `result.json`. What neither says is left out, and the licence is for
its user to choose (Mitchell et al. 2019, "Model cards for model reporting").
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mosaic_fl.domains.schema import Schema
from mosaic_fl.encoders.statement import encoder_figures
from mosaic_fl.exchange.model_file import FILE
from mosaic_fl.numerics.intervals import wilson

if TYPE_CHECKING:
    from mosaic_fl.exchange.global_model import GlobalModel

CARD = "README.md"
MOST_CLASSES = 100  # that are listed
MOST_COLUMNS = 60
TASKS = {"image": "image-classification", "table": "tabular-classification"}
USES = {
    "mosaic": f"""```python
from mosaic_fl import GlobalModel

model = GlobalModel.load("{FILE}")
model.predict_proba(samples), model.assess(samples).strangeness
```

    mosaic predict {FILE} --data new/ --abstain""",
    "sklearn": """```python
from use_model import classifier

classifier.predict(X), classifier.predict_proba(X)
```""",
    "onnx": """```python
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
session.run(None, {{{given}}})  # {outputs}
```

The names of the classes are the property `mosaic.classes`.""",
    "torchscript": """```python
import torch

model = torch.jit.load("model.pt")
model({values})  # ({outputs})
```

The names of the classes are its file `classes.json`.""",
    "torch": """```python
from model import CLASSES, load  # it needs torch alone

load()({values})  # {{{outputs}}}
```""",
}


@dataclass(frozen=True)
class Export:
    """The form in which the model lies beside its card: `to`, and its `inputs`, a line each, the name first."""

    to: str
    inputs: tuple[str, ...] = ()


def model_card(model: "GlobalModel", result: Mapping[str, Any], about: Export, version: str) -> str:
    """The text of the card; `result` is the content of `result.json`, empty without one."""
    parts = [
        _front(model, result),
        *_description(model, result, version),
        *_use(model, about),
        *_data(model.schema, result),
        *_figures(model, result),
        *_trust(model, result),
        *_privacy(result),
        *_limits(model, result),
    ]
    return "\n".join(parts) + "\n"


def _front(model: "GlobalModel", result: Mapping[str, Any]) -> str:
    """The YAML that the Hub reads. Its values are written as JSON, which is YAML."""
    task = TASKS.get(_kind(model.schema))
    lines = ["---", "# license: choose one before you publish: https://huggingface.co/docs/hub/repositories-licenses"]
    lines += ["library_name: mosaic-fl"]
    lines += [f"pipeline_tag: {task}"] if task else []
    tags = ["mosaic-fl", "federated-learning", "knowledge-distillation", "data-free", _kind(model.schema)]
    lines += [f"tags: {json.dumps(tags)}"]
    if metrics := _metrics(result):
        lines += [f"metrics: {json.dumps([name for name, *_ in metrics])}", "model-index:", "- name: global model"]
        lines += ["  results:", "  - task:", f"      type: {task or 'classification'}", "    dataset:"]
        lines += ["      name: test data of the federation", "      type: private", "    metrics:"]
        for name, value, low, high in metrics:
            lines += [
                f"    - type: {name}",
                f"      value: {value:.4f}",
                f"      name: {json.dumps(f'{name}, 95 % interval {low} to {high}')}",
            ]
    return "\n".join([*lines, "---", ""])


def _metrics(result: Mapping[str, Any]) -> list[tuple[str, float, str, str]]:
    """(name, value, ends of its 95 % interval) of what was measured on test data."""
    accuracy = result.get("accuracy")
    if accuracy is None:
        return []
    samples = (result.get("detail") or {}).get("samples")
    if not samples:
        return [("accuracy", accuracy, "?", "?")]
    low, high = wilson(accuracy, samples)
    return [("accuracy", accuracy, f"{low:.4f}", f"{high:.4f}")]


def _description(model: "GlobalModel", result: Mapping[str, Any], version: str) -> Iterator[str]:
    yield "# A global model of a federation\n"
    clients = f" of {result['clients']} sites" if isinstance(result.get("clients"), int) else ""
    yield (
        f"One classifier that was made from private data{clients} which never left them, by data-free distillation "
        "with [mosaic-fl](https://arxiv.org/abs/2505.19699). The server saw models and synthetic samples alone.\n"
    )
    yield f"- **Network**: `{model.architecture}`"
    if result.get("title"):
        yield f"- **Method**: {result['title']}"
    if encoder := encoder_figures(model.schema, model.bundle).get("encoder"):
        held = "in the model's file" if "bundled" in encoder else "named by the model's file"
        yield f"- **Public encoder**: {encoder['name']}, {held}, trained on {encoder['trained_on']}"
    yield f"- **Made by**: mosaic-fl {version}\n"


def _use(model: "GlobalModel", about: Export) -> Iterator[str]:
    if about.to not in USES:
        return
    yield "## How to use it\n"
    names = [line.partition(":")[0] for line in about.inputs]
    outputs = ["probabilities", *(["confidence"] if model.assurance else [])]
    outputs += ["strangeness"] if model.assurance and model.assurance.density else []
    given = ", ".join(f'"{name}": {name}' for name in names)
    text = USES[about.to]
    if about.to in ("onnx", "torchscript", "torch"):
        text = text.format(given=given, values=", ".join(names), outputs=", ".join(outputs))
    yield f"{text}\n"
    if about.inputs and about.to != "sklearn":
        yield from (f"- input `{line.partition(':')[0]}`:{line.partition(':')[2]}" for line in about.inputs)
        yield "- output `probabilities`: float32 (n, C), in the order of the classes"
        if _kind(model.schema) == "image":
            yield "- pictures have this size and these channels: `mosaic predict` fits others, this file does not"
        if "confidence" in outputs:
            yield "- output `confidence`: the calibrated probability of the most probable class"
        if "strangeness" in outputs:
            yield "- output `strangeness`: above 1 a sample is unlike anything the sites know"
        yield ""


def _data(schema: Schema, result: Mapping[str, Any]) -> Iterator[str]:
    yield "## Data\n"
    yield f"Samples are {schema.summary}:\n"
    shown = ", ".join(_plain(name) for name in schema.classes[:MOST_CLASSES])
    yield f"{shown}{', …' if schema.num_classes > MOST_CLASSES else ''}\n"
    for name, kind in schema.fields.items():
        columns = getattr(kind, "columns", None)
        if columns is None:
            yield f"- `{name}`: {kind.summary}"
            continue
        yield f"- `{name}`: {kind.summary}\n\n| column | type | values |\n|---|---|---|"
        for column in columns[:MOST_COLUMNS]:
            values = ", ".join(map(str, column.categories[:MOST_CLASSES]))
            yield f"| {_plain(column.name)} | {column.type} | {_plain(values)} |"
        if len(columns) > MOST_COLUMNS:
            yield f"| … | {len(columns) - MOST_COLUMNS} more | |"
        yield "\nAs a number a category is its place in its list, from 0, and a missing value is NaN."
    yield ""
    samples = result.get("samples")
    models = result.get("models") or []
    if isinstance(samples, list) and len(samples) == len(models):
        yield "| site | samples | classes | its model |\n|---|---|---|---|"
        held = result.get("classes_held") or [""] * len(samples)
        for site, (count, classes, name) in enumerate(zip(samples, held, models, strict=True)):
            yield f"| {site} | {count:,} | {classes} | {_plain(str(name))} |"
        yield ""


def _figures(model: "GlobalModel", result: Mapping[str, Any]) -> Iterator[str]:
    yield "## How good it is\n"
    metrics = _metrics(result)
    if not metrics:
        yield "Nothing was measured on test data.\n"
        return
    count = (result.get("detail") or {}).get("samples")
    yield f"On {f'{count:,} ' if count else ''}test samples that nobody learnt from:\n"
    yield "| | value | 95 % interval |\n|---|---|---|"
    for name, value, low, high in metrics:
        yield f"| {name} | {value:.4f} | {low}–{high} |"
    served = (result.get("quality") or {}).get("served") or {}
    for name in ("auroc", "balanced_accuracy", "log_loss"):
        if isinstance(served.get(name), float):
            yield f"| {name.replace('_', ' ')} | {served[name]:.4f} | |"
    alone = [share for share in result.get("local_accuracy") or [] if isinstance(share, float)]
    if alone:
        yield f"| accuracy of the sites' own models | {min(alone):.4f}–{max(alone):.4f} | |"
    if isinstance(result.get("centralised_accuracy"), float):
        yield f"| accuracy of a model of all data in one place | {result['centralised_accuracy']:.4f} | |"
    yield ""
    recall = result.get("recall") or []
    if len(recall) == model.schema.num_classes:
        yield "| class | recall |\n|---|---|"
        for name, share in list(zip(model.schema.classes, recall, strict=True))[:MOST_CLASSES]:
            yield f"| {_plain(name)} | {'' if share is None else f'{share:.3f}'} |"
        yield ""


def _trust(model: "GlobalModel", result: Mapping[str, Any]) -> Iterator[str]:
    assurance = model.assurance
    if assurance is None:
        return
    yield "## Trust in a prediction\n"
    yield f"- Logits are divided by {assurance.temperature:.3g} for the calibrated confidence."
    if assurance.density is not None:
        yield f"- A sample is strange above {assurance.threshold:.3g}: {assurance.reference}."
    measured = result.get("confidence") or {}
    if isinstance(measured.get("ece"), float) and isinstance(measured.get("ece_calibrated"), float):
        yield f"- Calibration error on test data: {measured['ece']:.4f}, calibrated {measured['ece_calibrated']:.4f}."
    if isinstance(measured.get("error_sure"), float):
        yield f"- Error without the tenth that it is least sure of: {100 * measured['error_sure']:.1f} %."
    if isinstance(measured.get("strange"), float):
        yield f"- Of the test samples {100 * measured['strange']:.1f} % are taken for strange."
    yield ""


def _privacy(result: Mapping[str, Any]) -> Iterator[str]:
    yield "## Privacy\n"
    privacy = result.get("privacy")
    if privacy:
        yield f"What left a site is ({privacy['epsilon']:g}, {privacy['delta']:g})-differentially private."
        if isinstance(privacy.get("unit"), str):
            yield f"Two data sets are neighbours by {privacy['unit']}."
    else:
        yield "What left the sites, models and generators and no samples, is not said to be differentially private."
    if audits := result.get("audit"):
        passing = sum(bool(row.get("passes")) for row in audits)
        yield f"{passing} of {len(audits)} sites that tell of an audit of their own pass it."
    yield ""


def _limits(model: "GlobalModel", result: Mapping[str, Any]) -> Iterator[str]:
    yield "## Limits\n"
    yield "- It learnt from synthetic samples. Test it on data of your own before it is used."
    yield "- It knows the classes above alone. A sample of another one gets one of them, unless it is strange."
    if model.assurance is None:
        yield "- Its file does not say how far a prediction may be trusted."
    if result.get("seed") is not None and result.get("accuracy") is not None:
        yield "- Its figures are of one run with one seed."
    if result.get("split") is not None:
        yield "- The sites were simulated: one data set was spread over them."


def _kind(schema: Schema) -> str:
    kinds = {getattr(kind, "of", None) or kind for kind in schema.fields.values()}
    return next(iter(kinds)).name if len(kinds) == 1 else "multimodal"


def _plain(text: str) -> str:
    """Text that breaks no table and is no markup."""
    return "".join(f"\\{sign}" if sign in r"\|<>[]`*_" else sign for sign in " ".join(text.split()))
