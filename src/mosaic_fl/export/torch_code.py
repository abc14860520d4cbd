"""`model.safetensors` and `model.py`: the weights as plain tensors, and the network as code that needs torch alone.

The code is the graph that `torch.export` records, one operator of ATen a line.
"""

import warnings
from collections.abc import Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from mosaic_fl.export.served import Served
from mosaic_fl.export.trial import Run

WEIGHTS = "model.safetensors"
CODE = "model.py"
CHECKS = ("_assert_tensor_metadata", "_assert_scalar", "sym_constrain_range")  # of the example's sizes, not of a use
MOST_SAMPLES = 2**31 - 1

LOADER = '''"""A classifier as code of torch alone. Made by mosaic-fl {version}; {file} beside it has its weights.

    import torch
    from model import CLASSES, load
    outputs = load()(*values)  # one tensor for each of INPUTS; a dictionary of OUTPUTS
"""

import json
import operator as _operator
from math import inf, nan
from pathlib import Path

import torch
from torch import device

CLASSES = {classes}
INPUTS = {names}
{inputs}
OUTPUTS = {outputs}
STATE = {state}
TYPES = {{
    "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64,
    "I64": torch.int64, "I32": torch.int32, "U8": torch.uint8, "BOOL": torch.bool,
}}


def load(file=Path(__file__).with_name("{file}")):
    """The classifier: a function of one tensor for each of INPUTS that returns a dictionary of OUTPUTS."""
    tensors = read(file)
    state = [tensors[name] for name in STATE]

    def classify(*values):
        with torch.no_grad():
            return dict(zip(OUTPUTS, forward(*state, *values)))

    return classify


def read(file):
    """The tensors of a safetensors file by name."""
    data = Path(file).read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    tensors = {{}}
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__":
            first, end = entry["data_offsets"]
            content = bytearray(data[start + first : start + end])
            kind = TYPES[entry["dtype"]]
            flat = torch.frombuffer(content, dtype=kind) if content else torch.zeros(0, dtype=kind)
            tensors[name] = flat.reshape(entry["shape"])
    return tensors


{code}
'''


def torch_files(served: Served, example: tuple[Tensor, ...], version: str) -> tuple[dict[str, bytes], Run]:
    """The files by name, and how they run."""
    batch = torch.export.Dim("n", min=1, max=MOST_SAMPLES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        recorded = torch.export.export(
            served, example, dynamic_shapes=(tuple({0: batch} for _ in example),), strict=False
        )
    state, order = _state(recorded)
    names = [given.name for given in served.inputs]
    text = LOADER.format(
        version=version,
        file=WEIGHTS,
        # Names come from whoever made the model: as literals, or in a comment of one line, they are no code.
        inputs="\n".join(f"# {one.form}" for one in served.inputs),
        outputs=repr(served.outputs),
        classes=repr(list(served.schema.classes)),
        names=repr(names),
        state=repr(order),
        code=_code(recorded.graph_module.code),
    )
    files = {WEIGHTS: save({name: tensor.contiguous().clone() for name, tensor in state.items()}), CODE: text.encode()}
    return files, _running(files)


def _state(recorded: Any) -> tuple[dict[str, Tensor], list[str]]:
    """All tensors by name, and their names in the order of the code's arguments."""
    state = dict[str, Tensor]()
    order = list[str]()
    for spec in recorded.graph_signature.input_specs:
        name = spec.target
        if name is not None:
            state[name] = recorded.state_dict[name] if name in recorded.state_dict else recorded.constants[name]
            order.append(name)
    return state, order


def _code(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if not any(check in line for check in CHECKS)]
    return "\n".join(lines).replace("def forward(self, ", "def forward(", 1)


def _running(files: Mapping[str, bytes]) -> Run:
    with TemporaryDirectory() as folder:
        for name, content in files.items():
            Path(folder, name).write_bytes(content)
        classify = loaded(Path(folder, CODE)).load()

    def run(values: tuple[Tensor, ...]) -> Mapping[str, Tensor]:
        answers: dict[str, Tensor] = classify(*values)
        return answers

    return run


def loaded(file: Path) -> Any:
    """The module of a file of Python that this package has written."""
    spec = spec_from_file_location(f"exported_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
