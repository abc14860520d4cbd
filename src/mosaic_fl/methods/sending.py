"""What a method that uses part of a contribution would send."""

from mosaic_fl import container
from mosaic_fl.contribution import Contribution


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


def others(sizes: list[int]) -> list[int]:
    """Bytes that each client is sent where all clients' parts, of `sizes` bytes, go to everyone who lacks them."""
    return [sum(sizes) - own for own in sizes]
