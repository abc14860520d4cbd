"""Networks without gradients: how many images pass at once changes how long it takes, and nothing but rounding."""

import pytest
import torch

from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.domains.samples import Samples
from mosaic_fl.generators import GeneratorSpec, build
from mosaic_fl.models import build as build_model
from mosaic_fl.models.inference import logits
from mosaic_fl.numerics import devices

SCHEMA = image_schema((1, 8, 8), ("a", "b", "c"))


def test_as_many_at_once_as_the_device_likes() -> None:
    assert devices.images_at_once("cpu") == 128
    assert devices.images_at_once(torch.device("cuda")) == 1000


def test_logits_of_many_images_are_those_of_all_at_once_and_the_mode_stays() -> None:
    model = build_model("cnn:4", SCHEMA).train()
    images = torch.randint(0, 256, (300, 1, 8, 8), dtype=torch.uint8)
    samples = Samples(SCHEMA.fields, {"image": images})
    found = logits(model, samples)
    assert model.training
    with torch.no_grad():
        assert torch.allclose(found, model.eval()(samples.inputs()), atol=1e-6)


@pytest.mark.parametrize("family", ["cvae", "cdcgan", "flow"])
def test_samples_are_the_same_however_few_are_drawn_at_once(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = build(GeneratorSpec(family, 64 if family == "flow" else 4, 32 if family == "flow" else 4), SCHEMA)
    for weight in generator.parameters():  # a flow starts at zero weights, which see no label
        torch.nn.init.normal_(weight, std=0.1)
    labels, sheets = torch.arange(20) % 3, list[torch.Tensor]()
    for few in (1000, 7):
        monkeypatch.setattr(devices, "AT_ONCE_ON_CPU", few)
        sheets.append(generator.sample(labels, torch.Generator().manual_seed(3)))
    assert torch.allclose(*sheets, atol=1e-5)
