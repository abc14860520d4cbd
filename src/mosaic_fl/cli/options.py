"""Options that several commands share, and how a TOML file and options become one configuration."""

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from mosaic_fl.config import Config
from mosaic_fl.config.model_names import require_form
from mosaic_fl.config.presets import preset_config
from mosaic_fl.config.privacy import without_limit
from mosaic_fl.config.privacy_checks import require_epsilon, require_positive
from mosaic_fl.config.toml import from_toml, read_toml
from mosaic_fl.errors import UsageError
from mosaic_fl.methods import METHODS
from mosaic_fl.notes import note
from mosaic_fl.numerics.devices import require_device_name

ConfigFile = Annotated[Path | None, typer.Argument(metavar="[FILE.toml]", help="settings; options override it")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="any setting of mosaic config")]
# Numbers are texts here. They are parsed with the settings of a TOML file, so that both have the same error messages.
Seed = Annotated[str | None, typer.Option(metavar="N", help="all randomness comes from it [0]")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda [auto]")]
Epsilon = Annotated[str | None, typer.Option(metavar="X", help="differential privacy of all that leaves [none]")]
Delta = Annotated[str | None, typer.Option(metavar="X", help="δ beside --epsilon [1e-5]")]
Moments = Annotated[str | None, typer.Option(metavar="NAME", help="encoder beside pictures, as gabor+strokes [none]")]
Aggregate = Annotated[
    str | None,
    typer.Option(metavar="RULE", help="of rounds: median, trimmed, krum, … [mean]"),
]
Attack = Annotated[str | None, typer.Option(metavar="NAME[:F]", help="the last F clients lie, as label_flip:2")]
Bundle = Annotated[bool | None, typer.Option("--bundle", help="the model's file holds its public encoder, too")]
Preset = Annotated[str | None, typer.Option(help="default, natural, encoder, private or paper")]
Force = Annotated[bool, typer.Option("--force", help="overwrite what is in --out")]
KeepStages = Annotated[bool, typer.Option("--keep-stages", help="leave stages/ there")]
Keep = Annotated[list[int] | None, typer.Option("--keep", metavar="CLIENT", help="counts in full, whatever others say")]
Strict = Annotated[bool | None, typer.Option("--strict", help="leave out who would count in part")]
Resume = Annotated[bool, typer.Option("--resume", help="go on with the run in --out")]


def configure(
    file: Path | None, options: dict[str, Any], settings: list[str] | None, preset: str | None = None
) -> Config:
    """One configuration from four sources; a later one overrides an earlier one.

    The sources are the method's paper, the preset or the file, the `options` that are not None, and `--set`. If
    `--method` names another method than `file`, a note lists the settings of the file that differ from the paper's.
    """
    if file and preset:
        raise UsageError(f"{file} and --preset {preset}: give one of them, mosaic config --preset prints a whole file")
    values = {name: value for name, value in options.items() if value is not None}
    values |= parse_settings(settings)
    require_positive(epsilon := options.get("privacy.epsilon"))
    if file:
        config = _from_file(file, values)
    else:
        paper = _paper_settings(values.get("run.method"))
        config = preset_config(preset or "default", paper).with_values(values)
    require_words(config)
    if without_limit(epsilon) == epsilon:  # ε = inf may stand beside any δ
        require_epsilon({name for name in values if name.startswith("privacy.")} - {"privacy.epsilon"}, config.privacy)
    return config


def trust_options(keep: list[int] | None, strict: bool | None) -> dict[str, Any]:
    """The settings of --keep and --strict, as options of `configure`."""
    return {"trust.keep": keep or None, "trust.strict": strict}


def require_words(config: Config) -> None:
    """Raise UsageError for names of models and devices that are wrong on every machine and for all data."""
    for spec in (*config.models.clients, config.models.student):
        if spec:
            require_form(spec)
    require_device_name(config.run.device)


def parse_settings(settings: list[str] | None) -> dict[str, Any]:
    """The values of `--set`, by setting. If a setting occurs twice, the last value counts and a note says so."""
    values = dict[str, Any]()
    for name, value in map(_setting, settings or []):
        if values.get(name, value) != value:
            note(f"--set {name} is given twice: {value!r} is used, not {values[name]!r}")
        values[name] = value
    return values


def _from_file(file: Path, values: dict[str, Any]) -> Config:
    """The configuration in `file`, with the method's paper below it and `values` above it."""
    run = read_toml(file).get("run")
    file_method = run.get("method") if isinstance(run, dict) else None
    method = values.get("run.method", file_method)
    paper = _paper_settings(method)
    config = from_toml(file, paper)
    differences = [
        f"{name} = {value!r}, not {paper_value!r}"
        for name, paper_value in paper.items()
        if name not in values and (value := _get(config, name)) != paper_value
    ]
    if differences and method != file_method:
        note(f"{file} says {'; '.join(differences)} as in the paper of {method} (mosaic config --method {method})")
    return config.with_values(values)


def _get(config: Config, name: str) -> Any:
    """The value of the setting `name`, as `data.channels`."""
    section, _, key = name.partition(".")
    return getattr(getattr(config, section), key)


def _paper_settings(method: object) -> Mapping[str, Any]:
    if not isinstance(method, str):  # from a file: the check of all its settings reports it
        return {}
    return METHODS[method].defaults if method in METHODS else {}


def names(text: str | None) -> list[str] | None:
    """The value of --models: `cnn:16,mlp:64` -> ["cnn:16", "mlp:64"]; None -> None."""
    return None if text is None else words("models", text)


def words(option: str, text: str) -> list[str]:
    """`a,b` -> ["a", "b"]; raises UsageError for an empty part."""
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise UsageError(f"--{option} {text!r} has an empty part: write its parts with commas between them")
    return parts


def _setting(text: str) -> tuple[str, Any]:
    """`distill.steps=500` -> ("distill.steps", 500); raises UsageError for a text without `=`."""
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--set {text!r}: write SECTION.KEY=VALUE, as in --set distill.steps=500")
    return name.strip(), _value(value.strip())


def _value(text: str) -> Any:
    """The number, truth value or list that `text` is in Python; else the text itself."""
    truth_values = {"true": True, "false": False}
    if text.lower() in truth_values:
        return truth_values[text.lower()]
    try:
        return ast.literal_eval(text)  # literals only: no code runs
    except (ValueError, SyntaxError):
        return text
