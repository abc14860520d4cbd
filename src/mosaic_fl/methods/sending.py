"""How many bytes travel for a method that uses only a part of each contribution, and for the result in the end."""

from collections.abc import Mapping, Sequence

from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.storage import container


def upload_size(contribution: Contribution, *, expert: bool, generator: bool = False, counts: bool = True) -> int:
    """Bytes of these parts of a contribution, packed for transport, with the names that are needed to build them.

    A client without a generator sends only the other parts.
    """
    manifest: dict[str, object] = {"client": contribution.client, "schema": contribution.schema.to_json()}
    tensors = {"class_counts": contribution.class_counts} if counts else {}
    if expert:
        manifest["architecture"] = contribution.architecture
        tensors |= {f"expert/{name}": tensor for name, tensor in contribution.expert.items()}
    if generator and contribution.generator_spec and contribution.generator:
        manifest["generator"] = contribution.generator_spec.to_json()
        tensors |= {f"generator/{name}": tensor for name, tensor in contribution.generator.items()}
    return len(container.pack("contribution", manifest, tensors))


def by_client(sizes: Mapping[int, int], clients: int) -> list[int]:
    """One entry of `sizes` for each of `clients` clients, in the order of their numbers; 0 where there is no entry."""
    return [sizes.get(client, 0) for client in range(clients)]


def with_result(down: Sequence[int], model: GlobalModel) -> list[int]:
    """`down` and, for each client, the bytes of the result: its last round sent it the average before that."""
    size = len(model.to_bytes())
    return [bytes + size for bytes in down]


def sizes_of_others(sizes: list[int]) -> list[int]:
    """Bytes that each client receives where it gets the parts of all others, which have `sizes` bytes.

    A client of size 0 sent nothing. It is absent and receives nothing.
    """
    return [sum(sizes) - own if own else 0 for own in sizes]
