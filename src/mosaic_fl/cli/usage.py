"""Click's own errors as one line with a way out: what is missing is explained, what is unknown has near names."""

import re

import click

INVALID = re.compile(r" is not a valid (integer|float)( range)?\.?$")
NUMBERS = {"integer": "whole number", "float": "number"}


def usage_line(error: click.ClickException) -> str:
    """The words of a wrong use of the command line, which name the value and say what to do."""
    text = getattr(error, "message", "") or error.format_message()
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "mosaic"
    near = list(getattr(error, "possibilities", None) or ())
    if near:
        return f"{text.rstrip('.')}: did you mean {' or '.join(near)}?"
    if isinstance(error, click.MissingParameter):
        return f"{error.format_message().rstrip('.')}: {_meaning(error.param, path)}"
    if isinstance(error, click.BadParameter):
        words = INVALID.sub(lambda match: f" is no {NUMBERS[match[1]]}", error.format_message()).rstrip(".")
        return f"{words}: {_meaning(error.param, path)}"
    if isinstance(error, click.BadOptionUsage) and context is not None:
        option = next((p for p in context.command.params if error.option_name in p.opts), None)
        return f"{text.rstrip('.')}: {_meaning(option, path)}"
    return f"{text.rstrip('.')}: {path} --help lists what there is"


def _meaning(parameter: click.Parameter | None, path: str) -> str:
    """What a parameter is, from its help."""
    words = getattr(parameter, "help", None)
    return f"{words} ({path} --help)" if words else f"{path} --help says what it is"
