"""Which columns of a data set are images of samples with several fields, from the user's settings and the schema."""

from pathlib import Path
from typing import TypeVar

from mosaic_fl.config import DataConfig, ReadingConfig
from mosaic_fl.data.fields.rows import images_in
from mosaic_fl.data.fields.schema_toml import read_label_column, read_toml_schema
from mosaic_fl.data.names import listing
from mosaic_fl.domains.image import Image
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError

Reading = TypeVar("Reading", bound=ReadingConfig)


def with_image_columns(config: DataConfig) -> DataConfig:
    """`config` with the image columns of its schema's file, if that has several fields, and its column of labels.

    Raises UsageError where settings contradict the schema.
    """
    if not config.schema_file:
        return config
    file = Path(config.schema_file)
    schema = read_toml_schema(file)
    return reading_as_fields(schema, _labelled(config, file), config.schema_file)


def labelled_by(reading: Reading, file: Path) -> Reading:
    """`reading` with the column of labels that the schema in a TOML file names, where `reading` names none."""
    return _labelled(reading, file) if file.suffix.lower() == ".toml" else reading


def _labelled(reading: Reading, file: Path) -> Reading:
    return reading.model_copy(update={"label_column": reading.label_column or read_label_column(file)})


def reading_of_fields(schema: Schema | None, reading: Reading) -> Reading:
    """`reading` with the image columns of a `schema` of several fields, and of no other.

    Raises UsageError where `reading` names columns that are not the schema's.
    """
    if schema is None:
        return reading
    named = (*reading.image_columns, *filter(None, [reading.image_column])) if len(schema.fields) > 1 else ()
    columns = tuple(images_in(schema)) if len(schema.fields) > 1 else ()
    if strange := [name for name in named or reading.image_columns if name not in columns]:
        own = f"has the image columns {listing(columns)}" if columns else f"says {schema.summary}"
        raise UsageError(f"the schema {own}: leave out --image-column {strange[0]}")
    return reading.model_copy(update={"image_columns": columns})


def reading_as_fields(schema: Schema, reading: Reading, source: str) -> Reading:
    """`reading_of_fields`; raises UsageError, too, where settings say another form of images than the schema."""
    reading = reading_of_fields(schema, reading)
    if len(schema.fields) > 1:
        for name, image in images_in(schema).items():
            if difference := _difference(image, reading):
                raise UsageError(f"{source} says of the field {name!r} {difference}: leave out the option that differs")
    return reading


def _difference(image: Image, reading: ReadingConfig) -> str:
    """The difference of settings from the images of a schema in words, "" for none."""
    channels, height, width = image.shape
    size = reading.image_size
    if size and (height, width) != (size, size):
        return f"{height}×{width} pixels, not {size}×{size}"
    if reading.channels == "colour" and channels == 1:  # "grey" makes pictures grey, where a field is
        return "1 channel (grey), not 3"
    return f"images fitted by {image.fit}, not by {reading.fit}" if reading.fit not in ("auto", image.fit) else ""
