"""The settings of a run: typed and validated, one section a stage.

Each section has a class in a file of this folder; `Config` holds them all. `toml` reads and writes files of settings.
"""

import re
from typing import Any

from pydantic import ValidationError

from mosaic_fl.config.audit import AuditConfig
from mosaic_fl.config.boosting import BoostingConfig
from mosaic_fl.config.client import GeneratorConfig, MomentsConfig, PrototypesConfig, TrainConfig
from mosaic_fl.config.experiment import DataConfig, ModelsConfig, PartitionConfig, ReadingConfig, RunConfig
from mosaic_fl.config.names import UNKNOWN
from mosaic_fl.config.privacy import PrivacyConfig
from mosaic_fl.config.section import SITE, Reader, ReadSection, Section
from mosaic_fl.config.server import (
    DistillConfig,
    ExpertsConfig,
    MetaConfig,
    RoundsConfig,
    SynthesisConfig,
)
from mosaic_fl.config.trust import TrustConfig
from mosaic_fl.errors import UsageError, excerpt, unknown

__all__ = [
    "AuditConfig",
    "BoostingConfig",
    "Config",
    "DataConfig",
    "DistillConfig",
    "ExpertsConfig",
    "GeneratorConfig",
    "MetaConfig",
    "ModelsConfig",
    "MomentsConfig",
    "PartitionConfig",
    "PrivacyConfig",
    "PrototypesConfig",
    "ReadSection",
    "Reader",
    "ReadingConfig",
    "RoundsConfig",
    "RunConfig",
    "Section",
    "SynthesisConfig",
    "TrainConfig",
    "TrustConfig",
    "validate",
]

KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "tuple": "a list",
    "model": "a section with settings",
}
"""Words for pydantic's kinds of values, by the first part of its error types."""


class Config(Section):
    """A whole run."""

    run: RunConfig = RunConfig()
    data: DataConfig = DataConfig()
    partition: PartitionConfig = PartitionConfig()
    models: ModelsConfig = ModelsConfig()
    train: TrainConfig = TrainConfig()
    generator: GeneratorConfig = GeneratorConfig()
    prototypes: PrototypesConfig = PrototypesConfig()
    moments: MomentsConfig = MomentsConfig()
    experts: ExpertsConfig = ExpertsConfig()
    meta: MetaConfig = MetaConfig()
    distill: DistillConfig = DistillConfig()
    synthesis: SynthesisConfig = SynthesisConfig()
    rounds: RoundsConfig = RoundsConfig()
    boosting: BoostingConfig = BoostingConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    audit: AuditConfig = AuditConfig()
    trust: TrustConfig = TrustConfig()

    def site_settings(self, readers: frozenset[Reader] = SITE) -> dict[str, dict[str, Any]]:
        """The settings that these readers at a site need, by section, as JSON values. Only these travel to a site."""
        tree = self.model_dump(mode="json")
        return {
            name: {
                key: value for key, value in tree[name].items() if not section.site_fields or key in section.site_fields
            }
            for name, section in self.sections().items()
            if section.readers & readers
        }

    @classmethod
    def sections(cls) -> dict[str, type[ReadSection]]:
        """The sections by name."""
        return {name: type(section) for name, section in cls()}

    def with_values(self, values: dict[str, Any]) -> "Config":
        """A validated copy with the settings {"section.key": value}; raises UsageError as `validate` does."""
        tree = self.model_dump()
        for path, value in values.items():
            section, _, key = path.partition(".")
            if not key:
                raise UsageError(f"{path!r} is not a setting: write SECTION.KEY, as in distill.steps")
            if section not in tree:
                raise unknown("section", section, tree)
            tree[section][key] = value
        return validate(tree)


def validate(tree: dict[str, Any], source: str = "") -> Config:
    """A `Config` from nested dictionaries; `source` names where they came from, for an error.

    Raises UsageError with one line: the first wrong setting, its value, and the values that it can have.
    """
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        wrong = _explain(error)
        raise UsageError(f"{source}: {wrong}" if source else wrong) from error


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    where = [str(part) for part in first["loc"]]
    path = ".".join(where[:2])
    if first["type"] == "extra_forbidden":
        return str(unknown("setting", path, _settings()))
    if first["type"] == "literal_error":
        choices = re.findall(r"'([^']+)'", str(first.get("ctx", {}).get("expected", "")))
        return str(unknown(path, value if isinstance(value := first["input"], str) else excerpt(value), choices))
    if first["type"] == UNKNOWN:
        value = first["input"]
        return str(unknown(path, value if isinstance(value, str) else excerpt(value), first["ctx"]["names"]))
    if first["type"] == "value_error":  # of a validator here: its message is complete
        return str(first["ctx"]["error"])
    kind = first["type"].partition("_")[0]  # of int_parsing, int_type, int_from_float, …
    should = f"should be {KINDS[kind]}" if kind in KINDS else first["msg"].replace("Input should", "should")
    words = [
        e["ctx"]["expected"] for e in error.errors() if e["loc"][:2] == first["loc"][:2] and "literal" in e["type"]
    ]
    should = " or ".join([should, *words])  # a setting may take numbers and words
    return f"{path} is {excerpt(first['input'])}, but it {should}"


def _settings() -> list[str]:
    sections = Config.model_fields
    return [
        *sections,
        *(f"{s}.{k}" for s, f in sections.items() for k in f.annotation.model_fields),  # type: ignore[union-attr]
    ]
