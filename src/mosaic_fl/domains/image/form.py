"""The form in which pictures are read, from the user's settings and the schema."""

from mosaic_fl.config import ReadingConfig
from mosaic_fl.domains.image.bounds import Fit
from mosaic_fl.domains.image.picture import CHANNELS, PictureForm
from mosaic_fl.domains.image.schema import image_of
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError


def picture_form(reading: ReadingConfig, schema: Schema | None = None) -> PictureForm:
    """The form of the settings `reading`.

    With a `schema` it has the schema's channels, and its fit where `reading` has none. Raises UsageError for an invalid
    pixel range, and for channels that are not the schema's.
    """
    channels = CHANNELS[reading.channels]
    fit: Fit = reading.fit if reading.fit != "auto" else "pad"
    if schema is not None:
        image = image_of(schema)
        if channels not in (None, image.shape[0]):
            raise UsageError(f"--channels {reading.channels}: the images of this federation have {image.shape[0]}")
        channels = image.shape[0]
        fit = reading.fit if reading.fit != "auto" else image.fit
    return PictureForm(channels, reading.image_size, fit, reading.pixel_range, reading.channels == "grey")
