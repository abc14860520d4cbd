"""Makes one client's process misbehave, as MOSAIC_SABOTAGE says: "stage:fault". Python runs this file at its start.

A stage is a task, or a task and the number of the round: "fit 1:NaN".

Only the process that answers messages is touched, and only where the test put this folder on its path.
"""

import os
import signal
import sys
import time

FAULTS = os.environ.get("MOSAIC_SABOTAGE", "")


def _sabotage() -> None:
    from dataclasses import replace

    import mosaic_fl.engines.flower.app as app
    from mosaic_fl.engines.flower.client import Desk
    from mosaic_fl.engines.flower.wire import Answer, Request

    stage, fault_name = FAULTS.split(":")
    answer, pack = Desk.answer, app.pack_answer
    struck = []

    def faulty(self: Desk, request: Request) -> Answer:
        fault = fault_name if _stage(request) == stage else None
        struck.append(fault)
        if fault == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "silent":
            while True:
                time.sleep(60)
        if fault == "error":
            raise RuntimeError("sabotage")
        said = answer(self, request)
        if fault == "late":
            time.sleep(float(os.environ["MOSAIC_SABOTAGE_LATE"]))
        if fault == "NaN":
            return replace(said, body=_nan(said.body))
        if fault == "oversized":
            return replace(said, body=said.body + bytes(5 * 2**20))
        if fault == "foreign":
            return replace(said, run="another run")
        return said

    def truncating(said: Answer):  # type: ignore[no-untyped-def]
        from flwr.app import Array, ArrayRecord

        content = pack(said)
        if "truncated" in struck and said.body:
            body = said.body[: len(said.body) // 2]
            content["body"] = ArrayRecord({"body": Array("uint8", (len(body),), "mosaic-fl.bytes", body)})
        return content

    Desk.answer, app.pack_answer = faulty, truncating  # type: ignore[method-assign]


def _stage(request) -> str:  # type: ignore[no-untyped-def]
    if request.task != "fit":
        return str(request.task)
    from mosaic_fl.storage import container

    return f"fit {container.unpack(request.body, 'request', 'request')[0]['work']['round']}"


def _nan(body: bytes) -> bytes:
    """The file with NaN for its weights, and hashes made anew by somebody who wants to."""
    import json

    import torch
    from safetensors.torch import load, save

    from mosaic_fl.storage import container

    header = json.loads(body[8 : 8 + int.from_bytes(body[:8], "little")])
    text = json.loads(header["__metadata__"]["mosaic-fl"])["content"]
    tensors = {k: torch.full_like(t, torch.nan) if t.is_floating_point() else t for k, t in load(body).items()}
    return save(tensors, {"mosaic-fl": json.dumps({"content": text, "sha256": container._digest(text, tensors)})})


if FAULTS and {"mosaic_fl.deploy.gate", "mosaic_fl.deploy.warm"} & set(sys.orig_argv):
    _sabotage()
