"""What a method that uses part of a contribution would send."""

from collections.abc import Mapping, Sequence

from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.storage import container


def sent_size(contribution: Contribution, *, expert: bool, generator: bool = False, counts: bool = True) -> int:
    """Bytes of these parts of a contribution, packed as they travel, with the names that are needed to build them.

    A client without a generator sends only the rest.
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


def of_each(sizes: Mapping[int, int], clients: int) -> list[int]:
    """`sizes` by client number as one entry for each of `clients` clients, 0 for who has none."""
    return [sizes.get(client, 0) for client in range(clients)]


def delivered(down: Sequence[int], model: GlobalModel) -> list[int]:
    """`down` and, at each client, the model that is the result: what its rounds sent it is one average older."""
    size = len(model.to_bytes())
    return [bytes + size for bytes in down]


def others(sizes: list[int]) -> list[int]:
    """Bytes that each client is sent where the parts, of `sizes` bytes, go to every contributor that lacks them.

    A client that sent nothing, 0, is not there to be sent anything.
    """
    return [sum(sizes) - own if own else 0 for own in sizes]
