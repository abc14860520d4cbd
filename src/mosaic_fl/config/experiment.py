"""Settings of an experiment: the method, the data, their partition over clients, the architectures."""

from typing import Literal

from pydantic import Field

from mosaic_fl.config.names import AttackName, EncoderName, MethodName, PartitionName
from mosaic_fl.config.section import Reader, ReadSection, Section

MISSING = ("NA", "NaN", "?", "null")
"""Words that stand for a missing value in a table, in any case; an empty cell is one always."""


class RunConfig(ReadSection):
    """What runs, and where."""

    readers = frozenset({Reader.TRAINING, Reader.AGGREGATOR, Reader.SERVER, Reader.SIMULATION})
    site_fields = ("seed",)

    method: MethodName = Field("mosaic", description="one of `mosaic methods`")
    seed: int = Field(0, ge=0, le=2**62, description="all randomness comes from it")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
    engine: Literal["local", "flower"] = Field("local", description="local, or flower: Flower's simulation on Ray")
    workers: int = Field(0, ge=0, le=1024, description="processes for the clients' work; 0: one a core")
    threads: int = Field(1, ge=1, le=1024, description="threads of the server's work (small networks: 1 is fastest)")
    attack: AttackName = Field("", description="clients that lie, as label_flip:2; empty: none (simulations alone)")
    centralised: bool = Field(False, description="also train the student on the pooled data: the ceiling")


class ReadingConfig(Section):
    """How labelled images are read: the same at every site of a federation."""

    image_column: str = Field("", description="the column of images; empty: image or img")
    image_columns: tuple[str, ...] = Field(
        (), description="columns of images of samples with several fields, beside a table's columns: docs/modalities.md"
    )
    label_column: str = Field("", description="the column of labels; empty: label, labels or fine_label")
    image_size: int = Field(0, ge=0, le=1024, description="resize to this many pixels a side; 0: as they are")
    channels: Literal["auto", "grey", "colour"] = Field("auto", description="grey, colour; auto: grey if all are")
    fit: Literal["auto", "pad", "crop", "stretch"] = Field(
        "auto",
        description="how an image that is no square becomes one: pad, crop, stretch; auto: as the model's, else pad",
    )
    pixel_range: tuple[float, ...] = Field(
        (), description="(black, white) of images deeper than 8 bits, as [0, 4095]; empty: they are refused"
    )
    skip_broken: bool = Field(False, description="leave out images that cannot be read, and list them")
    encoder: EncoderName = Field("", description="public encoder that makes vectors of samples; empty: none")


class DataConfig(ReadingConfig, ReadSection):
    """The data set."""

    readers = frozenset({Reader.TRAINING, Reader.AGGREGATOR, Reader.SIMULATION})
    site_fields = ("validation",)

    name: str = Field("digits", description="digits, a Parquet file or folder, an image folder, hub:NAME")
    ignore: tuple[str, ...] = Field((), description="columns of a table that are no features")
    split_column: str = Field("", description="the column of a table whose values divide the clients (by_column)")
    missing: tuple[str, ...] = Field(MISSING, description="words for a missing value of a table, in any case")
    schema_file: str = Field("", description="the schema of a table, from mosaic schema; empty: drafted from the rows")
    least_rows: int = Field(5, ge=1, description="rows behind each value that a drafted schema of a table has")
    max_train: int = Field(0, ge=0, description="use a random subset of this many training samples; 0: all")
    max_test: int = Field(0, ge=0, description="use a random subset of this many test samples; 0: all")
    validation: float = Field(0.1, ge=0, le=0.5, description="share of a client's samples kept for its choices")


class PartitionConfig(ReadSection):
    """How the training data is spread over clients."""

    readers = frozenset({Reader.SIMULATION})

    split: PartitionName = Field(
        "niid_bench",
        description="niid_bench, dirichlet_per_class, equal_size_prior, iid, pathological, quantity_skew, "
        "feature_skew, by_column",
    )
    clients: int = Field(5, ge=1, le=10_000, description="number of clients")
    alpha: float = Field(0.1, gt=0, description="Dirichlet concentration: smaller is more different")
    min_samples: int = Field(10, ge=1, description="least samples a client (niid_bench, quantity_skew)")
    classes_per_client: int = Field(2, ge=1, description="classes each client holds (pathological)")
    noise: float = Field(0.3, ge=0, le=2, description="greatest pixel noise of a client, in −1..1 units (feature_skew)")
    fields: tuple[str, ...] = Field(
        (), description='fields that clients have, in turn, as ["left+right", "left"]; empty: all of the data'
    )
    retries: int = Field(1000, ge=1, le=1_000_000, description="draws before a split is given up")


class ModelsConfig(ReadSection):
    """Architectures."""

    readers = frozenset({Reader.SERVER, Reader.SIMULATION})

    clients: tuple[str, ...] = Field((), description="given to clients in turn; empty: a mix that suits the data")
    student: str = Field("", description="the global model; empty: one that suits the data")
    bundle: bool = Field(False, description="the global model's file holds its public encoder: docs/encoders.md")
    ratios: tuple[float, ...] = Field(
        (1.0, 0.5, 0.25, 0.125, 0.0625), description="width of each client's sub-model in turn (heterofl, fedrolex)"
    )
