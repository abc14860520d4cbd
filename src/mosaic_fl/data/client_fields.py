"""Which fields each client of a simulation has: as hospitals do, of which some have x-rays and some have none."""

from collections.abc import Sequence

from mosaic_fl.config import PartitionConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError, excerpt, unknown
from mosaic_fl.notes import note

PLUS = "+"  # between the names of a client's fields
OPTION = "--client-fields (partition.fields)"


def client_fields(config: PartitionConfig, schema: Schema) -> list[tuple[str, ...]]:
    """The fields of each client in turn, from `config.fields`; none where every client has all.

    A note names the fields of the schema that no client has. Raises UsageError for a name that is no field, for samples
    of one field, and for more entries than clients.
    """
    if not config.fields:
        return []
    if len(schema.fields) == 1:
        raise UsageError(f"samples have one field ({next(iter(schema.fields))}): leave out {OPTION}")
    if len(config.fields) > config.clients:
        raise UsageError(f"{OPTION} has {len(config.fields)} entries for {config.clients} clients: give one a client")
    fields = [_names(entry, schema) for entry in config.fields]
    if lost := [name for name in schema.fields if not any(name in entry for entry in fields)]:
        note(f"no client has the field {', '.join(lost)}: {OPTION} gives it to none")
    return fields


def _names(entry: str, schema: Schema) -> tuple[str, ...]:
    """`left+right` -> ("left", "right"); the name of one field may have a plus in it."""
    parts = [entry] if entry in schema.fields else [part.strip() for part in entry.split(PLUS)]
    for part in parts:
        if not part:
            raise UsageError(f"{OPTION} has the entry {excerpt(entry)}: write names with a plus between them, as a+b")
        if part not in schema.fields:
            raise unknown("field", part, schema.fields)
    return tuple(name for name in schema.fields if name in parts)


def with_own_fields(shard: Dataset, client: int, names: Sequence[str]) -> Dataset:
    """The samples of a client with these fields alone; those that have none of them are left out with a note.

    Raises UsageError where none is left.
    """
    samples = shard.samples.with_fields(names)
    kept = samples.having_any()
    if not kept.any():
        raise UsageError(f"no sample of client {client} has a field of its own ({', '.join(names)}): give it others")
    if count := int((~kept).sum()):
        note(f"{count} of {len(shard)} samples of client {client} have none of its fields: left out")
    own = Dataset(samples, shard.labels, shard.schema)
    return own if kept.all() else own.subset(kept)
