"""What runs at the server: it sees contributions, and no data set."""

from mosaic_fl.server.distill import Distilled, distill

__all__ = ["Distilled", "distill"]
