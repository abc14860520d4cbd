"""Every reader of what may come from anywhere: inputs that it accepts, how they are mutated, and a call of it."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from random import Random

import fuzz_sealed
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from fuzz_answers import ANSWERS
from fuzz_bundle import BUNDLES
from fuzz_deployment import DEPLOYMENT
from fuzz_fields import FIELDS
from fuzz_keys import KEYS
from fuzz_mutation import dumps, mutate_bytes, mutate_text
from fuzz_reader import Reader, parsed, read_any, written
from fuzz_run_folder import RUN_FOLDER
from fuzz_tables import TABLE_SCHEMA, TABLES
from fuzz_trees import TREES
from fuzz_vectors import VECTORS
from PIL import Image
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from mosaic_fl.config import Config, ReadingConfig
from mosaic_fl.config.toml import from_toml, to_toml
from mosaic_fl.data.inputs import read_inputs
from mosaic_fl.data.schema_file import read_schema
from mosaic_fl.data.sources import load_file
from mosaic_fl.domains.image.decoding import decode as decode_pictures
from mosaic_fl.domains.image.picture import PictureForm
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.vector import Vector
from mosaic_fl.exchange.contribution import Contribution, Prototypes
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.experts.conversion import to_onnx
from mosaic_fl.experts.onnx.expert import OnnxExpert
from mosaic_fl.generators.base import GeneratorSpec
from mosaic_fl.generators.base import build as build_generator
from mosaic_fl.models import build
from mosaic_fl.storage.journal import Journal, Stage

SCHEMA = image_schema((1, 4, 4), ("a", "b"))
NETWORKS = (
    ("mlp:1:1", None), ("cnn:1:1", ("cvae", 1, 1)), ("vit:1:1", ("dcgan", 1, 1)), ("cnn:1:2", ("flow", 16, 1)),
)  # fmt: skip


def _contribution(architecture: str, spec: tuple[str, int, int] | None) -> Contribution:
    torch.manual_seed(0)
    expert = build(architecture, SCHEMA).eval()
    width = expert.features(torch.zeros(1, *SCHEMA.shape)).shape[1]
    two = torch.arange(2)
    made = Contribution(
        1, SCHEMA, architecture, expert.state_dict(), torch.tensor([3, 4]),
        Prototypes(torch.zeros(2, width), two, two + 1), {"samples": 2, "accuracy": 0.5, "loss": 1.0},
    )  # fmt: skip
    if spec is None:
        return made
    generator = GeneratorSpec(*spec)
    state = build_generator(generator, SCHEMA).state_dict()
    return Contribution(**{**vars(made), "generator_spec": generator, "generator": state, "generator_note": "x"})


def _contributions(_folder: Path) -> list[bytes]:
    return [_contribution(*network).to_bytes() for network in NETWORKS]


def _models(_folder: Path) -> list[bytes]:
    torch.manual_seed(0)
    specs = ("mlp:1:1", "cnn:1:1", "vit:1:1", "lenet")
    return [GlobalModel(spec, SCHEMA, build(spec, SCHEMA).state_dict()).to_bytes() for spec in specs]


def _stages(folder: Path) -> list[bytes]:
    journal = Journal(folder / "run")
    journal.keep("a", Stage({"x": torch.ones(2)}, {"samples": 3, "parts": [1, 2]}, 0.5, [{"step": 1, "loss": 0.5}]))
    return [(folder / "run" / "stages" / "a.safetensors").read_bytes()]


def _read_stage(data: bytes, folder: Path) -> None:
    (folder / "stages").mkdir(exist_ok=True)
    (folder / "stages" / "a.safetensors").write_bytes(data)
    journal = Journal(folder)
    if journal.recall("a") is not None:
        journal.write_metrics()


def _tomls(_folder: Path) -> list[bytes]:
    small = '[run]\nseed = 3\nmethod = "mosaic"\n[models]\nclients = ["cnn:8", "mlp:8"]\n[train]\nlr = 0.1\n'
    return [to_toml(Config()).encode(), small.encode()]


def _pictures(_folder: Path) -> list[bytes]:
    noise = np.random.default_rng(0).integers(0, 256, (12, 9, 3), np.uint8)
    modes = {
        "PNG": "RGB LA P 1 I;16",
        "JPEG": "RGB L",
        "BMP": "RGB",
        "GIF": "P",
        "TIFF": "RGB L",
        "WEBP": "RGB",
        "PPM": "L",
    }
    images = [(form, Image.fromarray(noise).convert(mode)) for form, kinds in modes.items() for mode in kinds.split()]
    return [_saved(image, form) for form, image in images]


FORMS = (PictureForm(), PictureForm(channels=3, size=8, pixel_range=(0, 65_535)))


def _saved(image: Image.Image, form: str) -> bytes:
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


def _read_picture(data: bytes, _folder: Path) -> None:
    read_any(*(lambda form=form: decode_pictures([data], "x", form) for form in FORMS))


def _parquets(folder: Path) -> list[bytes]:
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    picture = _saved(Image.new("L", (4, 4)), "PNG")
    cells = pa.array([{"bytes": picture, "path": "x.png"}] * 3, kind)
    features = {"label": {"names": ["a", "b"], "_type": "ClassLabel"}}
    table = pa.table({"image": cells, "label": pa.array([0, 1, 1])})
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    files = []
    for form, options in enumerate(({}, {"compression": "none", "use_dictionary": False}, {"compression": "zstd"})):
        pq.write_table(table, folder / f"{form}.parquet", **options)
        files.append((folder / f"{form}.parquet").read_bytes())
    return files


def _read_parquet(data: bytes, folder: Path) -> object:
    return load_file(written(folder / "x.parquet", data), ReadingConfig(), classes=2)


def _read_inputs(data: bytes, folder: Path) -> object:
    return list(read_inputs(written(folder / "x.parquet", data)).items)


def _schemas(_folder: Path) -> list[bytes]:
    spec = GeneratorSpec("cvae", 4, 8).to_json()
    return [json.dumps({"schema": schema.to_json(), "generator": spec}).encode() for schema in SCHEMAS]


VECTOR_SCHEMA = Schema({"vector": Vector(128, "gabor", "ab" * 32, SCHEMA.kind)}, ("a", "b"))
SCHEMAS = (SCHEMA, image_schema((3, 32, 32), tuple(map(str, range(100)))), TABLE_SCHEMA, VECTOR_SCHEMA)


def _read_schema(data: bytes, folder: Path) -> None:
    value = parsed(data)
    value = value if isinstance(value, dict) else {}
    path = written(folder / "schema.json", dumps(value.get("schema")).encode() if value else data)
    read_any(lambda: read_schema(path), lambda: GeneratorSpec.from_json(value.get("generator")))


def _onnx_models(_folder: Path) -> list[bytes]:
    rows = np.random.default_rng(0).normal(size=(40, 16)).astype(np.float32)
    labels = rows[:, 0] > 0
    trained = (LogisticRegression(), RandomForestClassifier(3, random_state=0), MLPClassifier((4,), max_iter=5))
    return [to_onnx(estimator.fit(rows, labels), 16, ["a", "b"], rest=False) for estimator in trained]


def _mutate_json_text(data: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    if rng.random() < 0.7:
        return fuzz_sealed.mutate_manifest_text(json.loads(data), rng).encode()
    return mutate_text(data, others, rng)


READERS: dict[str, Reader] = {
    "contribution": Reader(_contributions, fuzz_sealed.mutate_file, lambda data, _: Contribution.from_bytes(data)),
    "global-model": Reader(_models, fuzz_sealed.mutate_file, lambda data, _: GlobalModel.from_bytes(data)),
    "stage": Reader(_stages, fuzz_sealed.mutate_file, _read_stage),
    "toml": Reader(_tomls, mutate_text, lambda data, folder: from_toml(written(folder / "x.toml", data))),
    "picture": Reader(_pictures, mutate_bytes, _read_picture),
    "parquet": Reader(_parquets, mutate_bytes, _read_parquet),
    "parquet-inputs": Reader(_parquets, mutate_bytes, _read_inputs),
    "schema": Reader(_schemas, _mutate_json_text, _read_schema),
    **ANSWERS,
    **KEYS,
    "onnx": Reader(_onnx_models, mutate_bytes, lambda data, _: OnnxExpert(data, SCHEMA, "x")),
    **DEPLOYMENT,
    **RUN_FOLDER,
    **TABLES,
    **FIELDS,
    **VECTORS,
    **TREES,
    **BUNDLES,
}
