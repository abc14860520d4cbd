"""The options for reading images: one list for every command that reads images.

A command takes them as one parameter, `reading`: a dict of settings by their names (`data.channels`). An option that
the user leaves out has the value None.
"""

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from mosaic_fl.errors import UsageError
from mosaic_fl.notes import note

Command = TypeVar("Command", bound=Callable[..., Any])

OPTIONS: dict[str, Any] = {
    "image_size": Annotated[str | None, typer.Option(metavar="N", help="pixels a side [0: as they are]")],
    "channels": Annotated[str | None, typer.Option(help="grey, colour; the same at every site [auto]")],
    "fit": Annotated[str | None, typer.Option(help="where it is no square: pad, crop, stretch [pad]")],
    "pixel_range": Annotated[
        str | None, typer.Option(metavar="BLACK,WHITE", help="of images deeper than 8 bits, as 0,4095")
    ],
    "image_column": Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="column of images [image, img]; several: fields")
    ],
    "label_column": Annotated[str | None, typer.Option(metavar="NAME", help="column of labels [label, labels]")],
    "encoder": Annotated[str | None, typer.Option(metavar="NAME", help="auto, gabor, A+B, FILE.onnx, … [none]")],
    "skip_broken": Annotated[bool | None, typer.Option("--skip-broken", help="leave out what cannot be read")],
}


def reads_images(*but: str) -> Callable[[Command], Command]:
    """Decorator: the command's parameter `reading` becomes the options of `OPTIONS`, except those in `but`."""

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command)
        kinds = {name: kind for name, kind in OPTIONS.items() if name not in but}
        keyword = inspect.Parameter.KEYWORD_ONLY
        options = [inspect.Parameter(name, keyword, default=None, annotation=kind) for name, kind in kinds.items()]
        own = [parameter.replace(kind=keyword) for parameter in signature.parameters.values()]
        place = list(signature.parameters).index("reading")

        @wraps(command)
        def run(**values: Any) -> Any:
            reading = {f"data.{name}": values.pop(name) for name in kinds}
            if reading.get("data.pixel_range") is not None:
                reading["data.pixel_range"] = reading["data.pixel_range"].split(",")
            if "image_column" in kinds:
                reading |= _image_columns(reading.pop("data.image_column"))
            return command(reading=reading, **values)

        run.__signature__ = signature.replace(parameters=[*own[:place], *options, *own[place + 1 :]])  # type: ignore[attr-defined]
        run.__annotations__ = {
            **{name: value for name, value in command.__annotations__.items() if name != "reading"}, **kinds
        }  # fmt: skip
        return run  # type: ignore[return-value]

    return decorate


def _image_columns(columns: list[str] | None) -> dict[str, Any]:
    """The settings of --image-column: one column of images, or those of samples with several fields."""
    several = columns is not None and len(columns) > 1
    if several and len(set(columns or ())) < len(columns or ()):
        raise UsageError(f"--image-column {(columns or [''])[-1]}: a column is named twice, and is one field")
    return {
        "data.image_column": columns[0] if columns and not several else None,
        "data.image_columns": columns if several else None,
    }


def tell_idle(reading: dict[str, Any], test: object) -> None:
    """Note the options in `reading` that have no effect: the command reads images of `test` only, which is absent."""
    idle = [f"--{name.removeprefix('data.').replace('_', '-')}" for name, value in reading.items() if value]
    if idle and not test:
        note(f"{', '.join(idle)} without --test: no image is read")


def number_or_names(text: str | None, file: Path | None = None) -> int | list[str] | None:
    """`10` -> 10, `cat,dog` -> ["cat", "dog"], or the names in `file`; raises UsageError for fewer than two classes."""
    if text is not None and file is not None:
        raise UsageError(f"--classes {text} and --classes-file {file}: give one of them")
    if file is not None:
        from mosaic_fl.data.names import read_names

        return read_names(file)
    if text is None:
        return None
    number = int(text) if text.isdecimal() else None
    names = [name.strip() for name in text.split(",")]
    if (len(names) if number is None else number) < 2 or not all(names):
        raise UsageError(f"--classes {text!r}: give the number of classes, two or more, or their names, as cat,dog,owl")
    return names if number is None else number
