"""Files of the one format with whatever inside and a right SHA-256, so that what is wrong gets past it."""

import json
import math
from collections.abc import Sequence
from random import Random
from typing import Any

import torch
from fuzz_mutation import dumps, mutate_bytes, mutate_json, odd_value
from torch import nn

from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.errors import MosaicError
from mosaic_fl.generators.base import GeneratorSpec
from mosaic_fl.generators.base import build as build_generator
from mosaic_fl.models import build
from mosaic_fl.storage.files import sha256
from mosaic_fl.storage.header import FORMAT

TYPES = {
    "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64, "U8": torch.uint8,
    "BOOL": torch.bool, "F64": torch.float64, "I32": torch.int32,
}  # fmt: skip
LARGEST_CLAIM = 50_000  # parameters of a network that is made up
Entry = tuple[str, list[int], bytes]


def parts(data: bytes) -> tuple[dict[str, Any], dict[str, Entry]]:
    """(content, tensors by name as type, shape, bytes) of a whole file."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    content = json.loads(json.loads(header.pop("__metadata__")[FORMAT])["content"])
    body = data[8 + size :]
    return content, {name: (e["dtype"], e["shape"], body[slice(*e["data_offsets"])]) for name, e in header.items()}


def seal(content: Any, tensors: dict[str, Entry]) -> bytes:
    """A file of these parts whose hash is right where any reader could compute it."""
    text, header, body = dumps(content), dict[str, Any](), b""
    hashed = [text.encode()]
    for name, (kind, shape, data) in sorted(tensors.items()):
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
        hashed += [f"{name} {TYPES.get(kind)} {shape}".encode("utf-8", "replace"), data]
    header["__metadata__"] = {FORMAT: json.dumps({"content": text, "sha256": sha256(*hashed)})}
    head = json.dumps(header).encode()
    return len(head).to_bytes(8, "little") + head + body


def mutate_file(data: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    """A mutant of a whole file: of its manifest, of its tensors, of a network that it claims, or of its bytes."""
    kind = rng.randrange(8)
    if kind < 2:
        return mutate_bytes(data, others, rng)
    content, tensors = parts(data)
    if kind < 5:
        if rng.random() < 0.1:
            return seal(mutate_json(content, rng), tensors)
        return seal(content | {"manifest": mutate_json(content["manifest"], rng)}, tensors)
    if kind < 7 or "architecture" not in content["manifest"]:
        for _ in range(rng.choice((1, 1, 3))):
            _change_tensor(tensors, rng)
        return seal(content, tensors)
    return _claim(content, tensors, rng) or data


def _change_tensor(tensors: dict[str, Entry], rng: Random) -> None:
    if not tensors:
        return
    name, kind = rng.choice(sorted(tensors)), rng.randrange(7)
    form, shape, data = tensors[name]
    if kind == 0:
        del tensors[name]
    elif kind == 1:
        tensors[rng.choice(("", "a", f"{name}/x", "x" * 5000, "expert/\x1b[2J"))] = (form, shape, data)
    elif kind == 2:
        tensors[name] = (rng.choice([*TYPES, "F8_E4M3", "C64", "X"]), shape, data)
    elif kind == 3:
        odd = rng.choice(([], [0], [0, 2**62, 2**62], [2**63], [-1], [1] * 70, [len(data)], [2**32, 2**32, 0], [1.5]))
        tensors[name] = (form, list(odd), data if math.prod(odd) else b"")
    elif kind == 4:
        bad = torch.tensor([rng.choice((math.nan, math.inf, 3e38, -3e38, 1e-45, 0.0))], dtype=torch.float32)
        words = bytes(bad.view(torch.uint8).tolist())
        tensors[name] = (form, shape, (words * (len(data) // 4 + 1))[: len(data)])
    elif kind == 5:
        tensors[name] = (form, shape, rng.randbytes(len(data)))
    else:
        tensors[name] = (form, shape, mutate_bytes(data, (), rng))


def _claim(content: dict[str, Any], tensors: dict[str, Entry], rng: Random) -> bytes | None:
    """A small file whose weights fit what it claims: networks of few parameters and large maps, many classes."""
    side = rng.choice((1, 2, 4, 8, 17, 32, 64, 200, 512, 1024))
    shape = (rng.choice((1, 3, 16)), side, rng.choice((side, side, 1, 1024)))
    schema = image_schema(shape, tuple(map(str, range(rng.choice((2, 3, 10, 1000))))))
    width, depth = rng.choice((1, 2, 8, 64, 255)), rng.choice((1, 2, 3, 6, 24))
    family = rng.choice(("cnn:{}:{}", "mlp:{}:{}", "vit:{}:{}", "resnet8:{}", "resnet20:{}", "resnet18:{}", "lenet"))
    spec = None
    if rng.random() < 0.5:
        name = rng.choice(("cvae", "dcgan", "cdcgan", "flow"))
        latent = math.prod(shape) if name == "flow" else rng.choice((1, 4, 100))
        spec = (name, latent, rng.choice((1, 2, 8)))
    architecture = family.format(width, depth)
    try:
        with torch.device("meta"):
            networks: dict[str, nn.Module] = {"expert/": build(architecture, schema)}
            if spec is not None:
                networks["generator/"] = build_generator(GeneratorSpec(*spec), schema)
    except MosaicError:
        networks = {}
    state = {prefix + key: t for prefix, net in networks.items() for key, t in net.state_dict().items()}
    if sum(tensor.numel() for tensor in state.values()) > LARGEST_CLAIM:
        return None
    names = {kind: name for name, kind in TYPES.items()}
    fill = rng.choice((0.0, 0.01, 1.0, 1e30))
    new = {
        name: (names[t.dtype], list(t.shape), _bytes(torch.full(t.shape, fill).to(t.dtype)))
        for name, t in state.items()
    }
    counts = ("I64", [schema.num_classes], _bytes(torch.ones(schema.num_classes, dtype=torch.int64)))
    empty = {name: (form, [0] * len(shape), b"") for name, (form, shape, _) in tensors.items() if "prototypes" in name}
    manifest = content["manifest"] | {"architecture": architecture, "schema": schema.to_json()}
    if "generator" in manifest:
        manifest["generator"] = dict(zip(("family", "latent", "width"), spec, strict=True)) if spec else None
        new |= {"class_counts": counts, **empty}
    else:
        new = {name.removeprefix("expert/"): entry for name, entry in new.items() if name.startswith("expert/")}
    return seal(content | {"manifest": manifest}, new)


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes()


def mutate_manifest_text(value: Any, rng: Random) -> str:
    """JSON text of a mutated value; sometimes of another value altogether."""
    return dumps(odd_value(rng) if rng.random() < 0.05 else mutate_json(value, rng))
