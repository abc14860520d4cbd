"""The command class that every subcommand of `mosaic` uses: checks of paths and of repeated options, plain help texts.

The metavar of an option that takes several values ends in `,…`: the user writes them with commas between them. If such
an option occurs more than once, its values are put together. Any other option may occur once only: of two seeds or two
folders, one would be dropped.
"""

import copy
import inspect
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

import click
import typer
from typer.core import TyperArgument, TyperCommand
from typer.models import ArgumentInfo

from mosaic_fl.cli.output import json_alone
from mosaic_fl.errors import UsageError
from mosaic_fl.storage.files import require_path

JSON = "mosaic_fl.json"  # in the context of a command: whether the user wants JSON
Function = TypeVar("Function", bound=Callable[..., Any])


class Command(TyperCommand):
    """A command with `--json`, which refuses empty paths and repeated options, by name. Its help has no escapes."""

    has_json = True

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        _restore_help(self)
        if self.has_json:
            words = "print JSON alone: docs/json.md"
            self.params.append(
                click.Option(["--json"], is_flag=True, expose_value=False, callback=_want_json, help=words)
            )

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; with `--json` its stdout is JSON alone."""
        with json_alone() if ctx.meta.get(JSON) else nullcontext():
            return super().invoke(ctx)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse `args`; raises UsageError for a repeated option and for an empty path.

        As a `Path`, an empty text would be the current folder.
        """
        texts = self._occurrences(ctx, args)
        for parameter in self.params:
            for text in texts.get(parameter.name or "", ()) if _is_path(parameter) else ():
                if text == "":
                    name = parameter.opts[-1] if isinstance(parameter, click.Option) else parameter.make_metavar(ctx)
                    raise UsageError(f"{name} '': write a path; the current folder is .")
                if isinstance(text, str):
                    require_path(Path(text))
        repeated = {option: texts.get(option.name or "", []) for option in _options(self)}
        lists = {option: _join(option, values) for option, values in repeated.items() if len(values) > 1}
        remaining = super().parse_args(ctx, args)
        ctx.params |= {option.name: option.process_value(ctx, text) for option, text in lists.items()}
        return remaining

    def _occurrences(self, ctx: click.Context, args: Sequence[str]) -> dict[str, list[str]]:
        """The texts of each parameter, in the order of the command line."""
        # A copy of this command, because parsing consumes the arguments. Its options collect all their values.
        collector = copy.copy(self)
        collector.params = [copy.copy(parameter) for parameter in self.params]
        for option in _options(collector):
            option.multiple = True
        try:
            texts, _, _ = collector.make_parser(ctx).parse_args(list(args))
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # some of click's have none
            raise
        return {name: list(value) if isinstance(value, (list, tuple)) else [value] for name, value in texts.items()}

    def format_arguments(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Nothing: Typer writes the arguments with the options, and click 8.5 would write them a second time."""

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As Typer's, without its backslashes.

        Typer writes them so that Rich does not read `[default: 5]` as markup, even where Rich is not in use.
        """
        super().format_help(ctx, formatter)
        formatter.buffer = [part.replace("\\[", "[") for part in formatter.buffer]


class TextCommand(Command):
    """A command without `--json`: docs/json.md says why."""

    has_json = False


class App(typer.Typer):
    """A group of `Command`s; its help and errors are plain text."""

    def __init__(self, help: str, **settings: Any) -> None:
        names = {"help_option_names": ["-h", "--help"]}
        super().__init__(help=help, rich_markup_mode=None, context_settings=names, **settings)

    def command(
        self, name: str | None = None, *, cls: type[TyperCommand] | None = Command, **settings: Any
    ) -> Callable[[Function], Function]:
        """As Typer's `command`, with `Command` as the class."""
        return super().command(name, cls=cls, **settings)


def _restore_help(command: click.Command) -> None:
    """Give arguments their help again, which click 8.5 and later take from those of Typer below 0.21."""
    if command.callback is None:
        return
    annotations = inspect.unwrap(command.callback).__annotations__ | command.callback.__annotations__
    for parameter in command.params:
        if isinstance(parameter, TyperArgument) and parameter.help is None:
            about = getattr(annotations.get(parameter.name or ""), "__metadata__", ())
            parameter.help = next((info.help for info in about if isinstance(info, ArgumentInfo)), None)


def _want_json(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    ctx.meta[JSON] = value


def _options(command: click.Command) -> list[click.Option]:
    """The options that take one text; of several texts, click uses the last one."""
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    return [option for option in options if not (option.multiple or option.is_flag or option.count)]


def _join(option: click.Option, values: list[str]) -> str:
    """Several values of an option as one text with commas; raises UsageError if the option takes one value."""
    metavar = option.metavar or ""
    # `N|NAME,…` is either a number or a list of names: two numbers are not a list of names.
    if metavar.endswith(",…") and not ("|" in metavar and any(value.isdecimal() for value in values)):
        return ",".join(values)
    examples = " and ".join(repr(value) for value in values[:2])
    times = "twice" if len(values) == 2 else f"{len(values)} times"
    raise UsageError(f"{option.opts[-1]} is given {times}, as {examples}: it takes one value")


def _is_path(parameter: click.Parameter) -> bool:
    # --data of a simulation has the type text: it is a path or the name of a data set.
    return isinstance(parameter.type, click.Path) or parameter.name == "data"
