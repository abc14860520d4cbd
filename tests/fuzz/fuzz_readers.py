"""Every reader of what may come from anywhere: inputs that it accepts, how they are mutated, and a call of it."""

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import fuzz_sealed
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from fuzz_mutation import mutate_bytes, mutate_text
from PIL import Image

from mosaic_fl.config import Config, ReadingConfig
from mosaic_fl.config_file import from_toml, to_toml
from mosaic_fl.contribution import Contribution, Prototypes
from mosaic_fl.data.decoding import decode as decode_pictures
from mosaic_fl.data.picture import PictureForm
from mosaic_fl.data.schema import Schema
from mosaic_fl.data.sources import load_file
from mosaic_fl.deploy import bundle, certificates, checks
from mosaic_fl.engines.flower import codec, stored, wire
from mosaic_fl.engines.flower.site import load_site
from mosaic_fl.engines.tasks import ContributeTask, FitTask
from mosaic_fl.errors import UsageError
from mosaic_fl.federation import FitJob, Fitted, Start
from mosaic_fl.generators.base import GeneratorSpec
from mosaic_fl.generators.base import build as build_generator
from mosaic_fl.global_model import GlobalModel
from mosaic_fl.journal import Journal, Stage
from mosaic_fl.models import build
from mosaic_fl.report.kept import kept_lines, read_kept
from mosaic_fl.report.status import plain
from mosaic_fl.run_folder import MARKER
from mosaic_fl.watch.reading import read_status
from mosaic_fl.watch.watch import EVENTS, STATUS, Watch

Mutate = Callable[[bytes, Sequence[bytes], Random], bytes]


@dataclass(frozen=True)
class Reader:
    """`corpus(folder)` gives good inputs, and `read(input, folder)` reads one, in a folder that it may write to."""

    corpus: Callable[[Path], list[bytes]]
    mutate: Mutate
    read: Callable[[bytes, Path], object]


SCHEMA = Schema((1, 4, 4), ("a", "b"))
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


def _sites(_folder: Path) -> list[bytes]:
    server = '[server]\naddress = "h.example.org:8443"\ncertificate = "k"\nkey = "k"\n'
    return [
        f'client = 1\ndata = "d"\nmodel = "mlp:64"\nclasses = 10\nimage_size = 8\nfolder = "f"\n{server}'.encode(),
        f'client = 0\ndata = "./d"\nmodel = "cnn:8"\nclasses = ["a", "b"]\nskip_broken = true\n{server}'.encode(),
    ]


def _read_site(data: bytes, folder: Path) -> object:
    for name in ("d", "k"):
        (folder / name).touch()
    return load_site(_written(folder / "site.toml", data))


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
    _any(*(lambda form=form: decode_pictures([data], "x", form) for form in FORMS))


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
    return load_file(_written(folder / "x.parquet", data), ReadingConfig(), classes=2)


def _keys(folder: Path) -> list[bytes]:
    certificates.make_server_keys(["a.example.org"], folder / "server")
    public = certificates.make_client_keys(folder / "client")
    files = [folder / "server" / name for name in ("ca.crt", "server.pem", "server.key")]
    return [path.read_bytes() for path in (*files, public, public.with_suffix(""))]


def _read_keys(data: bytes, folder: Path) -> None:
    public = folder / "public"
    public.mkdir(exist_ok=True)
    path = _written(folder / "key", data)
    path.chmod(0o600)
    _written(public / "a.pub", data)
    for name in ("ca.crt", "server.pem", "server.key"):
        _written(folder / name, data)
    _any(
        lambda: checks.check_client_key(path),
        lambda: checks.client_public_keys(public),
        lambda: certificates.read_private_key(path),
        lambda: checks.hosts_of(certificates.read_certificate(path)),
        lambda: checks.check_server_keys(folder, "a.example.org"),
    )


def _schemas(_folder: Path) -> list[bytes]:
    spec = GeneratorSpec("cvae", 4, 8).to_json()
    return [json.dumps({"schema": schema.to_json(), "generator": spec}).encode() for schema in (SCHEMA, _GREY)]


_GREY = Schema((3, 32, 32), tuple(map(str, range(100))))


def _read_schema(data: bytes, _folder: Path) -> None:
    value = _parsed(data)
    value = value if isinstance(value, dict) else {}
    _any(lambda: Schema.from_json(value.get("schema")), lambda: GeneratorSpec.from_json(value.get("generator")))


STATE = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3])}


def _messages(_folder: Path) -> list[bytes]:
    """(head, body) of requests and answers, the head's JSON and the body parted by its length."""
    job = FitJob(1, "mlp:1:1", STATE, {"lr": 0.1}, None)
    bodies = {
        "fit": codec.encode(FitTask(job, 2), Config()),
        "contribute": codec.encode(ContributeTask(1, Start("mlp:1:1", STATE)), Config()),
        "statistics": codec.encode_result(Fitted(1, STATE, 5, {"loss": 1.0}, torch.tensor([2, 3]))),
        "evaluate": codec.encode_result(torch.ones(2, 2, dtype=torch.int64)),
        "fusion": codec.encode_experts({0: b"abc", 1: b"d"}),
    }
    requests = [wire.pack_request(wire.Request("run", task, 1, body)) for task, body in bodies.items()]
    answer = wire.Answer("run", "0" * 64, 1, 1.5, [{"step": 1, "loss": 0.5}], {"node": "x"}, "", b"")
    heads = [(content["head"]["json"], content["body"]["body"].data) for content in requests]
    heads.append((wire.pack_answer(answer)["head"]["json"], b""))
    return [len(head).to_bytes(4, "little") + head.encode() + body for head, body in heads]


def _mutate_message(data: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    size = int.from_bytes(data[:4], "little")
    head, body = data[4 : 4 + size], data[4 + size :]
    if rng.random() < 0.5:
        value = fuzz_sealed.mutate_manifest_text(json.loads(head), rng).encode()
        head = mutate_text(head, others, rng) if rng.random() < 0.3 else value
    elif body:
        body = fuzz_sealed.mutate_file(body, [], rng)
    return len(head).to_bytes(4, "little") + head + body


def _read_message(data: bytes, _folder: Path) -> None:
    size = int.from_bytes(data[:4], "little")
    head, body = data[4 : 4 + size].decode("utf-8", "replace"), data[4 + size :]
    content = RecordDict({"head": ConfigRecord({"json": head})})
    for name, part in (("body", body), ("extra", b"")):
        content[name] = ArrayRecord({name: Array("uint8", (len(part),), wire.RAW, part)})
    _any(
        lambda: _work(wire.unpack_request(content)),
        lambda: codec.decode_fitted(body, 1, STATE, 2),
        lambda: codec.decode_fused(body, 1, STATE),
        lambda: codec.decode_confusion(body, 2),
        lambda: codec.decode_experts(body),
        lambda: wire.unpack_answer(content),
    )


def _work(request: wire.Request) -> object:
    return request.digest, codec.decode(request.task, request.body, 1)


RUN_FILES = (MARKER, STATUS, EVENTS, "result.json", "table.json", "0.answer")


def _run_files(folder: Path) -> list[bytes]:
    with Watch(folder, stream=None) as watch:
        watch.tell("run_started", expected=[0, 1], pid=5, host="h")
        watch.tell("joined", 0, node="n", architecture="mlp:1", samples=3)
        watch.tell("stage_started", stage="fit", expected=[0, 1], limit=60.0)
        watch.tell("left_out", 1, stage="fit", reason="gone")
    stored.write(folder / "0.answer", {"run": "r", "request": "d", "client": 0}, b"body")
    marker = {"mosaic_fl": "0", "command": "compare", "inputs": "x", "options": {"seeds": "0,1"}}
    row = dict.fromkeys(("clients", "alpha", "architectures", "method", "rounds"), 1)
    table = {"tables": [row], "cells": [{"status": "done"}]}
    texts = {MARKER: marker, "result.json": {"accuracy": 0.5}, "table.json": table}
    for name, value in texts.items():
        (folder / name).write_text(json.dumps(value))
    return [bytes([place]) + (folder / name).read_bytes() for place, name in enumerate(RUN_FILES)]


def _mutate_run_file(data: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    body = data[1:]
    value = _parsed(body)
    if value is not None and rng.random() < 0.6:
        return data[:1] + fuzz_sealed.mutate_manifest_text(value, rng).encode()
    return data[:1] + mutate_text(body, others, rng)


def _read_run_file(data: bytes, folder: Path) -> None:
    if not (folder / MARKER).exists():
        _run_files(folder)
    name = RUN_FILES[data[0] % len(RUN_FILES)]
    path = folder / name
    good = path.read_bytes()
    try:
        path.write_bytes(data[1:])
        if name == EVENTS:
            (folder / STATUS).rename(folder / "status.kept")
        _any(lambda: _shown_status(folder), lambda: kept_lines(read_kept(folder), 0.0), lambda: stored.read(path))
    finally:
        path.write_bytes(good)
        if name == EVENTS:
            (folder / "status.kept").rename(folder / STATUS)


def _shown_status(folder: Path) -> object:
    status = read_status(folder)
    return None if status is None else (plain(status, 0.0), json.dumps(status.to_json()))


def _bundles(folder: Path) -> list[bytes]:
    import zipfile

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("pyproject.toml", bundle.pyproject())
        archive.writestr(bundle.MANIFEST, "pyproject.toml")
    return [file.getvalue()]


def _any(*reads: Callable[[], object]) -> None:
    """Have several readers read; raises UsageError where every one of them refuses."""
    refusals = list[UsageError]()
    for read in reads:
        try:
            read()
        except UsageError as error:
            refusals.append(error)
    if len(refusals) == len(reads):
        raise refusals[0]


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


READERS: dict[str, Reader] = {
    "contribution": Reader(_contributions, fuzz_sealed.mutate_file, lambda data, _: Contribution.from_bytes(data)),
    "global-model": Reader(_models, fuzz_sealed.mutate_file, lambda data, _: GlobalModel.from_bytes(data)),
    "stage": Reader(_stages, fuzz_sealed.mutate_file, _read_stage),
    "toml": Reader(_tomls, mutate_text, lambda data, folder: from_toml(_written(folder / "x.toml", data))),
    "site": Reader(_sites, mutate_text, _read_site),
    "picture": Reader(_pictures, mutate_bytes, _read_picture),
    "parquet": Reader(_parquets, mutate_bytes, _read_parquet),
    "keys": Reader(_keys, lambda data, others, rng: _either(data, others, rng), _read_keys),
    "schema": Reader(_schemas, lambda data, others, rng: _mutate_json_text(data, others, rng), _read_schema),
    "message": Reader(_messages, _mutate_message, _read_message),
    "run-folder": Reader(_run_files, _mutate_run_file, _read_run_file),
    "bundle": Reader(_bundles, mutate_bytes, lambda data, _: bundle.verify_bundle(data)),
}


def _either(data: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    """Of the base64 within a key, what it stands for is changed and written again; or the text is."""
    import base64
    import binascii

    lines = data.split(b"\n")
    body = b"".join(line for line in lines if line and not line.startswith(b"-----"))
    if data.startswith(b"-----") and rng.random() < 0.6:
        try:
            inner = mutate_bytes(base64.b64decode(body), (), rng)
        except binascii.Error:
            return mutate_bytes(data, others, rng)
        return b"\n".join([lines[0], *_wrapped(base64.b64encode(inner)), lines[-2], b""])
    if data.startswith(b"ecdsa") and rng.random() < 0.6:
        kind, text, *rest = data.split(b" ")
        return b" ".join([kind, base64.b64encode(mutate_bytes(base64.b64decode(text), (), rng)), *rest])
    return rng.choice((mutate_bytes, mutate_text))(data, others, rng)


def _wrapped(text: bytes) -> Iterator[bytes]:
    return (text[place : place + 64] for place in range(0, len(text), 64))


def _mutate_json_text(data: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    if rng.random() < 0.7:
        return fuzz_sealed.mutate_manifest_text(json.loads(data), rng).encode()
    return mutate_text(data, others, rng)
