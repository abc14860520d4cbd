"""Global models of every kind for the tests of exports, with weights by chance."""

import json

import torch

from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.domains.schema import Schema
from mosaic_fl.encoders.naming import make_encoder
from mosaic_fl.exchange.assurance import Assurance
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.experts.condensed import condensed
from mosaic_fl.export.served import Served
from mosaic_fl.export.trial import trial_samples
from mosaic_fl.models import build
from mosaic_fl.numerics.density import fit_density
from table_cases import SCHEMA as ROWS

PICTURES = image_schema((1, 12, 10), ("cat", "dog | 2", "owl"))
FIELDS = Schema({"photo": PICTURES.kind, "table": ROWS.kind}, ROWS.classes)


def network(schema: Schema, architecture: str) -> GlobalModel:
    """A network of samples of a schema, with an assurance."""
    torch.manual_seed(0)
    bare = GlobalModel(architecture, schema, dict(build(architecture, schema).state_dict()))
    return sure(bare)


def sure(bare: GlobalModel) -> GlobalModel:
    """The model with an assurance of random samples."""
    samples = trial_samples(Served(bare), 200)
    if encoder := Served(bare).encoder:
        from mosaic_fl.encoders.encoding import encode_samples

        samples = encode_samples(samples, encoder, bare.schema)
    density = fit_density(condensed(bare.expert(), samples), torch.arange(200) % 3)
    return GlobalModel(bare.architecture, bare.schema, bare.state, bare.bundle, Assurance(1.5, density, 4.0, "by hand"))


def encoded() -> GlobalModel:
    """A quadratic discriminant behind a public encoder, which its file holds."""
    encoder = make_encoder("gabor:16+strokes", PICTURES.kind)
    schema = Schema({"vector": encoder.kind}, PICTURES.classes)
    torch.manual_seed(0)
    return sure(GlobalModel("gaussian", schema, dict(build("gaussian", schema).state_dict())).bundled())


def trees() -> GlobalModel:
    """Two trees: by the age at its middle, and by whether somebody smokes and the dose is missing."""
    model = {
        "learner": {
            "gradient_booster": {
                "name": "gbtree",
                "model": {
                    "tree_info": [0, 2],
                    "trees": [
                        _tree([1, -1, -1], [2, -1, -1], [0, 0, 0], [0.25, 1.5, -1.0]),
                        _tree([1, -1, 3, -1, -1], [2, -1, 4, -1, -1], [3, 0, 2, 0, 0], [0.0, 0.5, 0.5, -2.0, 2.0]),
                    ],
                },
            },
            "learner_model_param": {"num_feature": "8", "num_class": "3", "base_score": "0E0"},
        }
    }
    text = json.dumps(model).encode()
    return sure(GlobalModel("boosted_trees", ROWS, {"json": torch.frombuffer(bytearray(text), dtype=torch.uint8)}))


def _tree(left: list[int], right: list[int], feature: list[int], value: list[float]) -> dict[str, list[float]]:
    return {"left_children": left, "right_children": right, "split_indices": feature, "split_conditions": value}
