"""`mosaic predict`: classify samples with a global model and write one row for each."""

import io
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from mosaic_fl.cli.files import Trust, trust_models
from mosaic_fl.cli.options import Force, configure
from mosaic_fl.cli.places import require_free
from mosaic_fl.cli.reading import reads_images
from mosaic_fl.data.places import existing
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.exchange.model_file import model_file
from mosaic_fl.notes import note
from mosaic_fl.runs.prediction_files import WRITERS, Table, choose_format, trust_columns
from mosaic_fl.storage.files import require_file
from mosaic_fl.storage.header import require_ours


@reads_images("label_column", "channels", "image_size", "skip_broken")
def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="a global_model.safetensors, or the folder of a run")],
    *,
    data: Annotated[
        Path, typer.Option(help="a table; or images: a folder, a Parquet file, a CSV list, one image file")
    ],
    out: Annotated[Path | None, typer.Option(help="write here instead of the screen")] = None,
    format: Annotated[
        str | None, typer.Option("--format", help="csv, jsonl, parquet [as --out ends, else jsonl]")
    ] = None,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="of every class, a column each")] = False,
    abstain: Annotated[
        bool, typer.Option("--abstain", help="no class for what is unlike anything the sites know")
    ] = False,
    least_sure: Annotated[
        float | None, typer.Option(metavar="SHARE", help="no class for the share it is least sure of, as 0.1")
    ] = None,
    reading: dict[str, Any],
    trusted: Trust = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda")] = "auto",
    force: Force = False,
) -> None:
    """Use a global model: one row a sample, with its place, class and probability; of a broken one, its error."""
    if not model.is_dir():
        require_file(model)
    existing(data)
    if least_sure is not None and not 0 < least_sure < 1:
        raise UsageError(f"--least-sure {least_sure} is no share between 0 and 1: 0.1 abstains from a tenth")
    writer = WRITERS[choose_format(format, out.suffix if out else None)]
    file = model_file(model)
    trust_models(trusted)
    require_ours(file)
    from mosaic_fl.exchange.global_model import GlobalModel
    from mosaic_fl.numerics.devices import find_device
    from mosaic_fl.runs.abstaining import check_abstaining
    from mosaic_fl.runs.any_predicting import predict_any

    if out:
        require_free(out, force, data, file)
    global_model = GlobalModel.load(file)
    if abstain:
        check_abstaining(global_model.assurance, str(file))
    place = find_device(device)
    settings = configure(None, reading, None).data
    outcome = predict_any(global_model, data, settings, place)
    total = 0
    broken = 0
    first_error = ""
    abstained: Counter[str] = Counter()
    abstains = abstain or least_sure is not None
    with _open_output(out) as stream, _progress(out, outcome.total) as tell:
        columns = trust_columns(global_model.assurance)
        table = Table(
            global_model.schema.classes, outcome.places, every=probabilities, trust=columns, abstains=abstains
        )
        rows = writer(stream, table)
        for prediction in _abstaining(outcome.predictions, abstain, least_sure):
            abstained[prediction.abstained] += 1
            rows.write(prediction)
            total += 1
            broken += bool(prediction.error)
            first_error = first_error or prediction.error
            tell(total)
        rows.close()
    for reason, count in sorted(abstained.items()):
        if reason:
            note(f"no class for {count} of the {total} {outcome.inputs} of {data}: {reason}")
    _note_broken(broken, first_error, f"{total} {outcome.inputs} of {data}", everything=broken == total)


def _abstaining(predictions: Iterator[Any], strange: bool, least_sure: float | None) -> Iterable[Any]:
    """The predictions, where the model abstains from those that the options say."""
    from mosaic_fl.runs.abstaining import without_least_sure, without_strange

    if strange:
        predictions = without_strange(predictions)
    return predictions if least_sure is None else without_least_sure(predictions, least_sure)


def _note_broken(broken: int, first_error: str, inputs: str, *, everything: bool) -> None:
    """Note how many `inputs` have no prediction, and the first error; raises MosaicError if none has one."""
    if not broken:
        return
    if everything:
        raise MosaicError(f"none of the {inputs} could be read: {first_error}")
    note(f"{broken} of the {inputs} could not be read: their rows say why, as {first_error}")


def _progress(out: Path | None, total: int) -> AbstractContextManager[Callable[[int], None]]:
    """Show the progress on stderr, except where the rows themselves appear on a terminal."""
    from rich.console import Console

    from mosaic_fl.report.heartbeat import counting

    if out is None and sys.stdout.isatty():
        return nullcontext(lambda count: None)
    return counting(Console(stderr=True), "predicting", total)


@contextmanager
def _open_output(out: Path | None) -> Iterator[Any]:
    """The stream for the rows: the file `out`, which appears only when it is complete, or stdout."""
    if out is not None:
        from mosaic_fl.storage.files import atomic_file

        with atomic_file(out) as file:
            yield file
        return
    sys.stdout.flush()
    screen = getattr(sys.stdout, "buffer", None) or _Screen(sys.stdout)
    yield screen
    screen.flush()


class _Screen(io.RawIOBase):
    """A stream of bytes, in whole lines, over a stdout that takes text only."""

    def __init__(self, text: TextIO) -> None:
        self.text = text

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self.text.write(bytes(data).decode("utf-8", "replace"))
