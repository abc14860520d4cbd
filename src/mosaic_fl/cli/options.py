"""Options that several commands share, and how options and a TOML file become one configuration."""

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from mosaic_fl.config import Config
from mosaic_fl.config.model_names import require_form
from mosaic_fl.config.presets import preset_config
from mosaic_fl.config.toml import from_toml, read_toml
from mosaic_fl.errors import UsageError
from mosaic_fl.methods import METHODS
from mosaic_fl.notes import note
from mosaic_fl.numerics.devices import require_known

ConfigFile = Annotated[Path | None, typer.Argument(metavar="[FILE.toml]", help="settings; options override it")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="any setting of mosaic config")]
# Numbers are parsed with all other settings, so that a wrong one is explained in the same way.
Seed = Annotated[str | None, typer.Option(metavar="N", help="all randomness comes from it [0]")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda [auto]")]
Preset = Annotated[str | None, typer.Option(help="default, natural (photographs) or paper")]
Force = Annotated[bool, typer.Option("--force", help="overwrite what is in --out")]
KeepStages = Annotated[bool, typer.Option("--keep-stages", help="leave stages/ there")]
Resume = Annotated[bool, typer.Option("--resume", help="go on with the run in --out")]


def configure(
    file: Path | None, options: dict[str, Any], settings: list[str] | None, preset: str | None = None
) -> Config:
    """The settings of the method's paper, the preset or the file, the options that were given (not None), then `--set`.

    Where `--method` names another one than a file that says everything, what the file keeps is told on stderr.
    """
    if file and preset:
        raise UsageError(f"{file} and --preset {preset}: give one of them, mosaic config --preset prints a whole file")
    given = {path: value for path, value in options.items() if value is not None}
    given |= given_settings(settings)
    if file:
        config = _from_file(file, given)
    else:
        config = preset_config(preset or "default", _paper_settings(given.get("run.method"))).with_values(given)
    require_words(config)
    return config


def require_words(config: Config) -> None:
    """Raise UsageError for names of models and devices that are wrong on any machine and any data."""
    for spec in (*config.models.clients, config.models.student):
        if spec:
            require_form(spec)
    require_known(config.run.device)


def given_settings(settings: list[str] | None) -> dict[str, Any]:
    """What `--set` gave, by setting; the last one where it gave a setting more than once, which is told."""
    given = dict[str, Any]()
    for path, value in map(_setting, settings or []):
        if given.get(path, value) != value:
            note(f"--set {path} is given twice: {value!r} is used, not {given[path]!r}")
        given[path] = value
    return given


def _from_file(file: Path, given: dict[str, Any]) -> Config:
    run = read_toml(file).get("run")
    own = run.get("method") if isinstance(run, dict) else None
    method = given.get("run.method", own)
    paper = _paper_settings(method)
    config = from_toml(file, paper)
    kept = [
        f"{path} = {value!r}, not {wanted!r}"
        for path, wanted in paper.items()
        if path not in given and (value := _at(config, path)) != wanted
    ]
    if kept and method != own:
        note(f"{file} says {'; '.join(kept)} as in the paper of {method} (mosaic config --method {method})")
    return config.with_values(given)


def _at(config: Config, path: str) -> Any:
    section, _, key = path.partition(".")
    return getattr(getattr(config, section), key)


def _paper_settings(method: object) -> Mapping[str, Any]:
    if not isinstance(method, str):  # a file may say anything, and is told so with all its settings
        return {}
    return METHODS[method].defaults if method in METHODS else {}


def names(text: str | None) -> list[str] | None:
    """The value of --models, `cnn:16,mlp:64` -> its parts."""
    return None if text is None else words("models", text)


def words(option: str, text: str) -> list[str]:
    """`a,b` -> its parts; raises UsageError for an empty one."""
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise UsageError(f"--{option} {text!r} has an empty part: write its parts with commas between them")
    return parts


def _setting(text: str) -> tuple[str, Any]:
    path, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--set {text!r}: write SECTION.KEY=VALUE, as in --set distill.steps=500")
    return path.strip(), _value(value.strip())


def _value(text: str) -> Any:
    """A number, truth value or list where it is written as one; else the text itself."""
    lowered = {"true": True, "false": False}
    if text.lower() in lowered:
        return lowered[text.lower()]
    try:
        return ast.literal_eval(text)  # literals only: nothing is evaluated
    except (ValueError, SyntaxError):
        return text
