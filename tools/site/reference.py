"""The pages of reference that follow from the code: every command, every setting, every public name."""

import copy

import click
from pydantic import BaseModel
from typer.main import get_command

import mosaic_fl
from mosaic_fl.cli.main import app
from mosaic_fl.config import Config


def commands() -> str:
    """Every command with its arguments and options, as `--help` has them."""
    root = get_command(app)
    with click.Context(root, info_name="mosaic") as context:
        return "\n".join(_command(root, context, "mosaic"))


def _command(command: click.Command, context: click.Context, path: str) -> list[str]:
    lines = [f"## `{path}`", "", _escape(command.help or ""), ""]
    children = getattr(command, "commands", {})
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    lines += [f"    {usage}", ""]
    records = [_record(parameter, context) for parameter in command.get_params(context)]
    rows = [record for record in records if record is not None and record[0] != "-h, --help"]
    if rows:
        lines += ["| | |", "|---|---|"]
        lines += [f"| `{_cell(name)}` | {_escape(_cell(meaning))} |" for name, meaning in rows]
        lines.append("")
    for name, child in children.items():
        with click.Context(child, info_name=name, parent=context) as inner:
            lines += _command(child, inner, f"{path} {name}")
    return lines


def _record(parameter: click.Parameter, context: click.Context) -> tuple[str, str] | None:
    """Name and meaning of an option or argument, also of one that `--help` leaves out for brevity."""
    shown = copy.copy(parameter)
    hidden = getattr(parameter, "hidden", False)
    shown.hidden = False  # type: ignore[attr-defined]
    record = shown.get_help_record(context)
    return (record[0], f"{record[1]} (not in `--help`)") if record and hidden else record


def settings() -> str:
    """Every setting with its default value and meaning, section by section."""
    lines = []
    for name, section in Config():
        words = (type(section).__doc__ or "").strip().splitlines()[0]
        lines += [f"## `[{name}]`", "", _escape(words), "", "| setting | default | meaning |", "|---|---|---|"]
        lines += _fields(section, name)
        lines.append("")
    return "\n".join(lines)


def _fields(section: BaseModel, name: str) -> list[str]:
    rows = []
    for key, field in type(section).model_fields.items():
        value = section.model_dump(mode="json")[key]
        shown = f"`{_cell(str(value))}`" if value not in ("", []) else "empty"
        rows.append(f"| `{name}.{key}` | {shown} | {_escape(_cell(field.description or ''))} |")
    return rows


def python() -> str:
    """Every public name of `mosaic_fl`; mkdocstrings writes what its docstring says."""
    lines = []
    for name in mosaic_fl.__all__:
        if name != "__version__":
            lines += [f"## `mosaic_fl.{name}`", "", f"::: mosaic_fl.{mosaic_fl._HOMES[name]}.{name}", ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Text that a cell of a table holds."""
    return " ".join(text.split()).replace("|", "\\|")


def _escape(text: str) -> str:
    """Text in which Markdown sees no HTML and no emphasis."""
    return text.replace("\\[", "[").replace("[", "\\[").replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


PAGES = {"commands": commands, "settings": settings, "python": python}
