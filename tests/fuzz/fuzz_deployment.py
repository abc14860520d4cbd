"""The readers of a deployment: site files, keys, messages, app bundles."""

import base64
import binascii
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import fuzz_sealed
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from fuzz_answers import QUERY
from fuzz_mutation import mutate_bytes, mutate_text
from fuzz_reader import Reader, read_any, written

from mosaic_fl.config import Config
from mosaic_fl.deploy import bundle, certificates, checks
from mosaic_fl.engines.flower import answer_codec, codec, wire
from mosaic_fl.engines.flower.site import load_site
from mosaic_fl.engines.tasks import AnswerTask, ContributeTask, FitTask
from mosaic_fl.exchange.federation import FitJob, Fitted, Start


def _sites(_folder: Path) -> list[bytes]:
    server = '[server]\naddress = "h.example.org:8443"\ncertificate = "k"\nkey = "k"\n'
    return [
        f'client = 1\ndata = "d"\nmodel = "mlp:64"\nclasses = 10\nimage_size = 8\nfolder = "f"\n{server}'.encode(),
        f'client = 0\ndata = "./d"\nmodel = "cnn:8"\nclasses = ["a", "b"]\nskip_broken = true\n{server}'.encode(),
    ]


def _read_site(data: bytes, folder: Path) -> object:
    for name in ("d", "k"):
        (folder / name).touch()
    return load_site(written(folder / "site.toml", data))


def _keys(folder: Path) -> list[bytes]:
    certificates.make_server_keys(["a.example.org"], folder / "server")
    public = certificates.make_client_keys(folder / "client")
    files = [folder / "server" / name for name in ("ca.crt", "server.pem", "server.key")]
    return [path.read_bytes() for path in (*files, public, public.with_suffix(""))]


def _read_keys(data: bytes, folder: Path) -> None:
    public = folder / "public"
    public.mkdir(exist_ok=True)
    path = written(folder / "key", data)
    path.chmod(0o600)
    written(public / "a.pub", data)
    for name in ("ca.crt", "server.pem", "server.key"):
        written(folder / name, data)
    read_any(
        lambda: checks.check_client_key(path),
        lambda: checks.client_public_keys(public),
        lambda: certificates.read_private_key(path),
        lambda: certificates.read_certificate(path),
        lambda: checks.check_server_keys(folder),
    )


def _mutate_key(data: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    """Of the base64 within a key, what it stands for is changed and written again; or the text is."""
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


STATE = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3])}


def _messages(_folder: Path) -> list[bytes]:
    """(head, body) of requests and answers, the head's JSON and the body parted by its length."""
    job = FitJob(1, "mlp:1:1", STATE, {"lr": 0.1}, None)
    bodies = {
        "fit": codec.encode(FitTask(job, 2), Config()),
        "contribute": codec.encode(ContributeTask(1, Start("mlp:1:1", STATE)), Config()),
        "answer": codec.encode(AnswerTask(QUERY), Config()),
        "statistics": answer_codec.encode_result(Fitted(1, STATE, 5, {"loss": 1.0}, torch.tensor([2, 3]))),
        "evaluate": answer_codec.encode_result(torch.ones(2, 2, dtype=torch.int64)),
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
    read_any(
        lambda: _work(wire.unpack_request(content)),
        lambda: answer_codec.decode_fitted(body, 1, STATE, 2),
        lambda: answer_codec.decode_fused(body, 1, STATE),
        lambda: answer_codec.decode_counts(body, 2, 2),
        lambda: codec.decode_experts(body),
        lambda: wire.unpack_answer(content),
    )


def _work(request: wire.Request) -> object:
    return request.digest, codec.decode(request.task, request.body, 1)


def _bundles(folder: Path) -> list[bytes]:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("pyproject.toml", bundle.pyproject())
        archive.writestr(bundle.MANIFEST, "pyproject.toml")
    return [file.getvalue()]


DEPLOYMENT = {
    "site": Reader(_sites, mutate_text, _read_site),
    "keys": Reader(_keys, _mutate_key, _read_keys),
    "message": Reader(_messages, _mutate_message, _read_message),
    "bundle": Reader(_bundles, mutate_bytes, lambda data, _: bundle.verify_bundle(data)),
}
