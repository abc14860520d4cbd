"""What all commands of `mosaic` share: plain help texts, paths that are not empty, and options that are given once.

An option that takes several values with commas between them says so in its metavar, which ends in `,…`; given more
than once, its values are put together. Any other option that takes one value is refused where it is given twice: of two
seeds or folders, one would be dropped.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import typer
from typer.core import TyperCommand

from mosaic_fl.errors import UsageError
from mosaic_fl.storage.files import require_path

Function = TypeVar("Function", bound=Callable[..., Any])


class Command(TyperCommand):
    """A command that refuses an empty path and a doubled option by name, and whose help is not escaped for Rich."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Raises UsageError for an empty path, which as a `Path` would be the current folder, and a doubled option."""
        given = self._occurrences(ctx, args)
        for parameter in self.params:
            for text in given.get(parameter.name or "", ()) if _is_place(parameter) else ():
                if text == "":
                    name = parameter.opts[-1] if isinstance(parameter, click.Option) else parameter.make_metavar(ctx)
                    raise UsageError(f"{name} '': write a path; the current folder is .")
                if isinstance(text, str):
                    require_path(Path(text))
        lists = {option: _joined(option, values) for option in _options(self) if (values := _more(option, given))}
        rest = super().parse_args(ctx, args)
        ctx.params |= {option.name: option.process_value(ctx, text) for option, text in lists.items()}
        return rest

    def _occurrences(self, ctx: click.Context, args: Sequence[str]) -> dict[str, list[str]]:
        """Every text that was given, by parameter, in its order."""
        every = copy.copy(
            self
        )  # whose options all keep what came before; a parser of its own, as parsing eats arguments
        every.params = [copy.copy(parameter) for parameter in self.params]
        for option in _options(every):
            option.multiple = True
        given, _, _ = every.make_parser(ctx).parse_args(list(args))
        return {name: list(value) if isinstance(value, (list, tuple)) else [value] for name, value in given.items()}

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


def _options(command: click.Command) -> list[click.Option]:
    """The options that take a text and keep the last one."""
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    return [option for option in options if not (option.multiple or option.is_flag or option.count)]


def _more(option: click.Option, given: Mapping[str, list[str]]) -> list[str]:
    """What was given for an option that was given more than once."""
    values = given.get(option.name or "", [])
    return values if len(values) > 1 else []


def _joined(option: click.Option, values: list[str]) -> str:
    """Several values of an option as one list; raises UsageError where it takes one value."""
    metavar = option.metavar or ""
    # `N|NAME,…`: how many there are, or their names. Two numbers are no list of names.
    if metavar.endswith(",…") and not ("|" in metavar and any(value.isdecimal() for value in values)):
        return ",".join(values)
    shown = " and ".join(repr(value) for value in values[:2])
    times = "twice" if len(values) == 2 else f"{len(values)} times"
    raise UsageError(f"{option.opts[-1]} is given {times}, as {shown}: it takes one value")


def _is_place(parameter: click.Parameter) -> bool:
    # --data of a simulation is text: a path or the name of a data set.
    return isinstance(parameter.type, click.Path) or parameter.name == "data"
