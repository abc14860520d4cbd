"""What runs at a client: the only code that sees private data."""

from mosaic_fl.client.contribute import contribute
from mosaic_fl.client.training import Trained, train_classifier

__all__ = ["Trained", "contribute", "train_classifier"]
