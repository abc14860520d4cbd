"""The process of one ONNX model: `python -m mosaic_fl.experts.onnx.worker`. It answers on its pipes and does no more.

The first message is the model, with the limits of memory and time; each further one is a batch. A refusal is an answer
with a reason, after which the process ends. It ends by itself when nobody listens.
"""

import os
from typing import Any, BinaryIO

import numpy as np
import onnxruntime

from mosaic_fl.errors import UsageError, in_one_line
from mosaic_fl.experts.onnx import frames
from mosaic_fl.experts.onnx.facts import Facts
from mosaic_fl.experts.onnx.inspection import inspect
from mosaic_fl.numerics.confined import lacks_memory, limit_memory, limit_seconds

MAX_REASON = 400  # characters
MAX_ANSWER = 2**26  # values
QUIET = 4  # fatal errors alone
NEEDS_MEMORY = "needs more memory than it may have"


def main() -> None:
    """Serve until the requests end, or something is refused."""
    requests, answers = _private_pipes()
    try:
        _serve(requests, answers)
    except BrokenPipeError:
        pass
    except MemoryError:
        _refuse(answers, NEEDS_MEMORY)
    except Exception as error:  # a hostile model may make a library raise anything
        _refuse(answers, in_one_line(error))


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    message = frames.read(requests)
    if message is None:
        return
    header, content = message
    limit_memory(header["memory"])
    limit_seconds(header["seconds"])
    checked, facts = inspect(content)
    session = _session(checked)
    del content, checked
    _answer(answers, facts.to_json())
    while (message := frames.read(requests)) is not None:
        header, content = message
        limit_seconds(header["seconds"])
        batch = np.frombuffer(content, np.float32).reshape(header["shape"])
        outputs = _run(session, facts, batch)
        _answer(answers, {"shape": list(outputs.shape), "type": outputs.dtype.name}, memoryview(outputs).cast("B"))


def _private_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Standard input and output, which no library can write to afterwards."""
    pipes = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):
        os.dup2(nowhere, standard)
    return pipes


def _session(content: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = QUIET
    options.enable_cpu_mem_arena = False  # memory goes back after each batch: many models may be there at once
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has many kinds of errors
        raise _fault("cannot be made ready", error) from error


def _run(session: Any, facts: Facts, batch: Any) -> Any:
    """The outputs (n, …), float32 or int64, of a batch (n, …); raises UsageError for anything else."""
    values = batch.astype(facts.input.type, copy=False)
    size = facts.input.batch
    parts = [values] if size is None else [values[start : start + size] for start in range(0, len(values), size)]
    outputs = []
    for part in parts:
        given = part if size is None else np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])
        try:
            answer = session.run([facts.output.name], {facts.input.name: given})[0]
        except Exception as error:
            raise _fault("fails", error) from error
        outputs.append(_rows(answer, len(given))[: len(part)])
    joined = np.concatenate(outputs) if len(outputs) > 1 else outputs[0]
    return np.ascontiguousarray(joined, np.float32 if joined.dtype.kind == "f" else np.int64)


def _fault(what: str, error: Exception) -> UsageError:
    """An error of onnxruntime, which says in many ways that there is no memory."""
    text = in_one_line(error)
    if lacks_memory(error):
        return UsageError(NEEDS_MEMORY)
    return UsageError(f"{what}: {text}")


def _rows(outputs: Any, samples: int) -> Any:
    """`outputs`; raises UsageError unless it is an array of numbers with a row a sample."""
    if not isinstance(outputs, np.ndarray) or outputs.dtype.kind not in "fi":
        raise UsageError("gives no array of numbers")
    if outputs.ndim < 1 or len(outputs) != samples or outputs.size > MAX_ANSWER:
        raise UsageError(f"gives an array {outputs.shape} for {samples} samples, not one row a sample")
    return outputs


def _answer(stream: BinaryIO, header: dict[str, Any], content: bytes | memoryview = b"") -> None:
    stream.write(frames.pack(header, len(content)))
    stream.write(content)
    stream.flush()


def _refuse(stream: BinaryIO, reason: str) -> None:
    text = "".join(character for character in reason[:MAX_REASON] if character.isprintable())
    try:
        _answer(stream, {"refused": text})
    except BrokenPipeError:
        return


if __name__ == "__main__":
    main()
