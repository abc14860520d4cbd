"""What all commands of `mosaic` share: plain help texts, and paths that can be looked at."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import typer
from typer.core import TyperCommand

from mosaic_fl.errors import UsageError
from mosaic_fl.files import require_path

Function = TypeVar("Function", bound=Callable[..., Any])


class Command(TyperCommand):
    """A command that refuses a path that none can be by its name, and whose help is not escaped for Rich."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Raises UsageError for an empty path (as a `Path` it would be the current folder), and as `require_path`."""
        # Only here is the text still there. Its own parser, because parsing eats its arguments.
        given, _, _ = self.make_parser(ctx).parse_args(list(args))
        for parameter in self.params:
            value = given.get(parameter.name or "")
            for text in (value if isinstance(value, (list, tuple)) else [value]) if _is_place(parameter) else ():
                if text == "":
                    name = parameter.opts[-1] if isinstance(parameter, click.Option) else parameter.make_metavar(ctx)
                    raise UsageError(f"{name} '': write a path; the current folder is .")
                if isinstance(text, str):
                    require_path(Path(text))
        return super().parse_args(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Without the backslashes by which Typer keeps Rich from reading `[default: 5]` as markup, Rich used or not."""
        super().format_help(ctx, formatter)
        formatter.buffer = [part.replace("\\[", "[") for part in formatter.buffer]


class App(typer.Typer):
    """A group of `Command`s, with plain text for help and errors."""

    def __init__(self, help: str, **settings: Any) -> None:
        names = {"help_option_names": ["-h", "--help"]}
        super().__init__(help=help, rich_markup_mode=None, context_settings=names, **settings)

    def command(
        self, name: str | None = None, *, cls: type[TyperCommand] | None = Command, **settings: Any
    ) -> Callable[[Function], Function]:
        """As Typer's, for a `Command`."""
        return super().command(name, cls=cls, **settings)


def _is_place(parameter: click.Parameter) -> bool:
    # --data of a simulation is text: a path or the name of a data set.
    return isinstance(parameter.type, click.Path) or parameter.name == "data"
