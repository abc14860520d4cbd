"""Sizes of files, in bytes, from the shapes of their tensors alone."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import prod

import torch
from torch import Tensor

from mosaic_fl.config import Config, GeneratorConfig, PrototypesConfig
from mosaic_fl.domains.schema import Schema
from mosaic_fl.exchange.assurance import ASSURANCE, PARTS
from mosaic_fl.exchange.feature_moments import FAMILY, moments_encoder, vector_schema
from mosaic_fl.experts.condensed import WIDTH
from mosaic_fl.experts.naming import kind_of
from mosaic_fl.experts.network import NETWORK
from mosaic_fl.generators.base import GeneratorSpec
from mosaic_fl.generators.base import build as build_generator
from mosaic_fl.models import build
from mosaic_fl.numerics.density import AXES
from mosaic_fl.registries import GENERATORS

Shapes = Mapping[str, tuple[torch.dtype, tuple[int, ...]]]
NAMES = {
    torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64", torch.uint8: "U8",
    torch.bool: "BOOL",
}  # fmt: skip
ENVELOPE = 330  # characters around a manifest: format, version, kind, SHA-256, and their escapes
WORDS = 120  # characters of an assurance in a manifest
THIN = 0.6  # share of the clusters with enough samples, where their average is just enough


def packed_bytes(shapes: Shapes, manifest: int = 0) -> int:
    """Bytes of `container.pack` of tensors of these shapes, with a manifest of so many characters."""
    header = ENVELOPE + manifest
    at = 0
    for name, (dtype, shape) in sorted(shapes.items()):
        end = at + prod(shape) * dtype.itemsize
        entry = {"dtype": NAMES.get(dtype, "F32"), "shape": list(shape), "data_offsets": [at, end]}
        header = header + len(json.dumps({name: entry}, separators=(",", ":"))) - 1
        at = end
    return 8 + header + at


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    """The types and shapes of a state's tensors."""
    return {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in state.items()}


@lru_cache(maxsize=256)
def model_outline(architecture: str, schema: Schema) -> tuple[tuple[str, torch.dtype, tuple[int, ...]], ...]:
    """(name, type, shape) of each tensor of the classifier's state, in their order."""
    with torch.random.fork_rng(devices=[]):
        state = build(architecture, schema).state_dict()
    return tuple((name, tensor.dtype, tuple(tensor.shape)) for name, tensor in state.items())


@lru_cache(maxsize=256)
def feature_size(architecture: str, schema: Schema) -> int:
    """d, the number of penultimate features of the classifier."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        return int(build(architecture, schema).eval().features(torch.zeros(2, *schema.shape)).shape[1])


def model_shapes(architecture: str, schema: Schema, prefix: str = "") -> Shapes:
    """The shapes of a classifier's state."""
    return {prefix + name: (dtype, shape) for name, dtype, shape in model_outline(architecture, schema)}


def parameters(architecture: str, schema: Schema) -> int:
    """The number of parameters in a classifier's state."""
    return sum(prod(shape) for _, _, shape in model_outline(architecture, schema))


def model_bytes(architecture: str, schema: Schema) -> int:
    """Bytes of a model's file; 0 where it is no network, since nobody knows how its trees will grow."""
    if kind_of(architecture) is not NETWORK:
        return 0
    return packed_bytes(model_shapes(architecture, schema), _schema_length(schema) + len(architecture))


def assurance_bytes(architecture: str, schema: Schema) -> int:
    """Bytes that a global model's file has more for what it says of the trust in its predictions."""
    if schema.joins:
        return WORDS
    is_network = kind_of(architecture) is NETWORK
    width = feature_size(architecture, schema) if is_network else schema.size
    few = -(-width // -(-width // WIDTH))
    axes = min(AXES, few)
    shapes = {
        f"{ASSURANCE}/{name}": (torch.float32, shape)
        for name, shape in zip(PARTS, [(schema.num_classes, few), (few, axes), (axes + 1,)], strict=True)
    }
    return packed_bytes(shapes, WORDS) - packed_bytes({})


def generator_spec(family: str, config: GeneratorConfig, schema: Schema) -> GeneratorSpec:
    """The specification of a generator of `family` that a client with these settings would train."""
    return GENERATORS[family].spec(config.model_copy(update={"family": family}), schema)


@lru_cache(maxsize=64)
def generator_outline(
    spec: GeneratorSpec, schema: Schema, counts: tuple[int, ...] = ()
) -> tuple[tuple[str, torch.dtype, tuple[int, ...]], ...]:
    """(name, type, shape) of each tensor of the generator's state, at most, after `counts` samples a class."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        state = build_generator(spec, schema).expect(counts).state_dict()
    return tuple((name, tensor.dtype, tuple(tensor.shape)) for name, tensor in state.items())


def spec_numbers(spec: GeneratorSpec, schema: Schema) -> int:
    """The number of parameters in a generator's state."""
    return sum(prod(shape) for _, _, shape in generator_outline(spec, schema))


def decoder_bytes(spec: GeneratorSpec, schema: Schema) -> int:
    """Bytes of a generator alone, as clients of FedCVAE and of methods on vectors send it: without a density."""
    outline = generator_outline(spec, schema)
    shapes = {f"generator/{n}": (dtype, shape) for n, dtype, shape in outline if not n.startswith("density.")}
    return packed_bytes(shapes, _schema_length(schema) + 100)


def has_running_statistics(architecture: str, schema: Schema) -> bool:
    """Whether a classifier keeps running statistics."""
    return any(name.endswith("running_mean") for name, _, _ in model_outline(architecture, schema))


def prototypes(count: int, config: PrototypesConfig) -> float:
    """The expected number of prototypes of a class of `count` samples: small clusters are often dropped."""
    clusters = min(config.per_class, count // config.min_cluster)
    if not clusters:
        return 0.0
    surplus = count / clusters / config.min_cluster - 1  # 0 where the average cluster has just enough samples
    return clusters * (THIN + (1 - THIN) * min(1.0, surplus))


def contribution_bytes(
    architecture: str, schema: Schema, counts: Sequence[int], config: Config, spec: GeneratorSpec | None
) -> int:
    """Bytes of the contribution of a client with `counts` training samples a class, without a model of no network."""
    network = kind_of(architecture) is NETWORK
    shapes: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {"class_counts": (torch.int64, (schema.num_classes,))}
    shapes |= model_shapes(architecture, schema, "expert/") if network else {}
    space = schema.is_space and bool(config.prototypes.per_class)
    rows = round(sum(prototypes(count, config.prototypes) for count in counts)) if network or space else 0
    features = schema.size if space else feature_size(architecture, schema) if network else 0
    shapes |= {
        "prototypes/features": (torch.float32, (rows, features)),
        "prototypes/labels": (torch.int64, (rows,)),
        "prototypes/sizes": (torch.int64, (rows,)),
    }
    if spec is not None:
        shapes |= {
            f"generator/{name}": (dtype, shape) for name, dtype, shape in generator_outline(spec, schema, tuple(counts))
        }
    if (encoder := moments_encoder(config, schema)) is not None:
        vectors = vector_schema(encoder, schema)
        outline = generator_outline(generator_spec(FAMILY, config.generator, vectors), vectors, tuple(counts))
        shapes |= {f"moments/{name}": (dtype, shape) for name, dtype, shape in outline}
    return packed_bytes(shapes, _schema_length(schema) + 350)


def _schema_length(schema: Schema) -> int:
    """Characters of a schema in a manifest, in which its quotes are escaped twice."""
    return len(json.dumps(json.dumps(json.dumps(schema.to_json()))))
