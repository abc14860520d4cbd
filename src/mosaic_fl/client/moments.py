"""What a client tells beside its model: class moments of its samples in the space of a public encoder."""

import torch

from mosaic_fl.client.generators import left_out
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.encoders.encoding import encode
from mosaic_fl.exchange.feature_moments import FAMILY, FeatureMoments, moments_encoder, of_moments
from mosaic_fl.generators.moments import ClassMoments
from mosaic_fl.notes import note
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.registries import GENERATORS
from mosaic_fl.training.monitor import Recorder


def feature_moments(data: Dataset, config: Config, client: int, device: torch.device) -> FeatureMoments | None:
    """The moments of `data`, of the `client` of that number, in the space of `moments.encoder`; None without one.

    A class of fewer samples than the generator `moments` asks for stays here. Raises UsageError as `moments_encoder`,
    and for a vector that is not finite.
    """
    encoder = moments_encoder(config, data.schema)
    if encoder is None:
        return None
    vectors = encode(data, encoder, device)
    stream = Stream(config.run.seed, "moments", client)
    built = GENERATORS[FAMILY].train(vectors, None, config.generator, stream, device, Recorder())
    assert isinstance(built, ClassMoments)
    if lacks := left_out(built, data):
        note(f"the class moments of {encoder.name} are {lacks}")
    return of_moments(built, vectors.schema)
