"""Three sites with models of their own, one of them a module written here: one global model.

How-to: docs/experts.md. Half a minute; for a real run leave `settings` out.
"""

from sklearn.datasets import load_digits
from torch import nn

import mosaic_fl as mosaic

digits = load_digits()
images, labels = (digits.images * 15).astype("uint8"), digits.target
short = {"train.max_steps": 100, "train.min_steps": 100, "generator.steps": 200, "meta.steps": 60, "distill.steps": 200}
short |= {"distill.pool": 4000, "distill.prior_pool": 0, "distill.terms": 1}


def perceptron() -> nn.Module:
    """Any module from images in −1..1 to logits."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))


sites = {0: (labels < 4, "cnn:8"), 1: ((labels >= 4) & (labels < 7), perceptron), 2: (labels >= 7, "mlp:64")}
contributions = [
    mosaic.contribute(images[mine], labels[mine], model=model, client=site, classes=10, settings=short)
    for site, (mine, model) in sites.items()
]
model = mosaic.distill(contributions, student="cnn:16", settings=short)
accuracy = model.evaluate(images, labels).accuracy
print(f"Each site has three or four of ten digits; the one model is right on {accuracy:.1%}")
