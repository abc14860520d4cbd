"""A global model out of here: `served` as one network from values at rest, which every format is made of."""

FORMATS = ("onnx", "torchscript", "torch", "sklearn", "mosaic", "card")
