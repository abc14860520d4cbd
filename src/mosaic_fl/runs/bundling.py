"""The global model as its file holds it: with its public encoder, where the user says `--bundle`."""

from mosaic_fl.config import Config
from mosaic_fl.domains.schema import Schema
from mosaic_fl.encoders.bundle import bundle_of
from mosaic_fl.encoders.encoded import space_of
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.notes import note


def check_bundle(config: Config, schema: Schema) -> None:
    """Raise UsageError, before any work, where the model is to hold its encoder and cannot.

    A model of other samples than vectors needs none: a note says so.
    """
    if not config.models.bundle:
        return
    if (kind := space_of(schema)) is None:
        note(f"--bundle has no use: the global model takes {schema.summary}, and needs no encoder")
    else:
        bundle_of(kind, config.data.encoder)


def as_filed(model: GlobalModel, config: Config) -> GlobalModel:
    """The model, with its encoder where `models.bundle` says so."""
    return model.bundled(config.data.encoder) if config.models.bundle else model
