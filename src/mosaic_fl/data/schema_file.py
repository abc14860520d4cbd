"""The schema of a federation as a file. Each site compares its own data with it before it trains."""

import json
from collections.abc import Sequence
from pathlib import Path

from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.fields.rows import has_fields
from mosaic_fl.data.fields.schema_toml import read_toml_schema
from mosaic_fl.data.fields.settings import labelled_by, reading_as_fields
from mosaic_fl.data.sources import load_file
from mosaic_fl.data.tables import is_tabular
from mosaic_fl.data.vectors import of_vectors
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.image.picture import CHANNELS
from mosaic_fl.domains.image.schema import image_of, image_schema
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.storage.files import read_bytes

MAX_BYTES = 4 * 2**20  # 10,000 class names of 400 bytes each


def schema_text(schema: Schema) -> str:
    """One line of JSON: kind, shape, classes, range, and fit unless it is the default. It has no figure of any site."""
    return json.dumps(schema.to_json(), ensure_ascii=False) + "\n"


def read_schema(path: Path) -> Schema:
    """The schema in a file of at most 4 MiB, TOML (of tables, of fields) or JSON; raises UsageError, with its name."""
    if path.suffix.lower() == ".toml":
        return read_toml_schema(path)
    content = read_bytes(path, MAX_BYTES)
    try:
        value = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no schema: it is not JSON; mosaic data --describe --out writes one") from error
    try:
        return Schema.from_json(value)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def load_own(
    path: Path, reading: ReadingConfig, classes: int | Sequence[str] | None = None, schema_file: Path | None = None
) -> Dataset:
    """A client's labelled images, `load_file`; with a `schema_file`, of exactly that schema.

    The schema gives the classes, the channels and the image size. Raises UsageError, in one line, for a difference.
    """
    if schema_file is None:
        return load_file(path, reading, classes=classes)
    schema = read_schema(schema_file)
    if classes is not None:
        raise UsageError(f"the classes are those of {schema_file}: leave out the other ones")
    labelled = labelled_by(reading, schema_file) if has_fields(schema) else reading
    return load_as(path, schema, labelled, str(schema_file))


def load_as(path: Path, schema: Schema, reading: ReadingConfig, source: str) -> Dataset:
    """A client's labelled samples, of exactly the `schema` that `source` has; raises UsageError for a difference."""
    if has_fields(schema):
        return load_file(path, reading_as_fields(schema, reading, source), schema)
    return load_file(path, reading_as(schema, reading, source), schema)


def reading_as(schema: Schema, reading: ReadingConfig, source: str) -> ReadingConfig:
    """`reading` with the image size of the `schema`, where its images are squares.

    Raises UsageError where an option of the user contradicts the schema, which is that of `source`.
    """
    if is_tabular(schema) or of_vectors(schema):
        return reading
    image = image_of(schema)
    channels, height, width = image.shape
    sides = (reading.image_size, reading.image_size) if reading.image_size else (height, width)
    fit = image.fit if reading.fit == "auto" else reading.fit
    own_schema = image_schema((CHANNELS[reading.channels] or channels, *sides), schema.classes, fit)
    if own_schema != schema:
        raise UsageError(f"{source} says {schema.difference(own_schema)}: leave out the option that differs")
    return reading.model_copy(update={"image_size": height if height == width else 0})
