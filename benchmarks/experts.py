"""ONNX experts, each in a process of its own, against the same networks in PyTorch: seconds for the same samples.

    python benchmarks/experts.py [--samples 4000] [--repeats 5]

Random pixels; one intra-op thread on both sides; starting the process is not counted, but told. The two take turns, and
the least of the repeats counts.
"""

import argparse
import io
import time
import warnings

import torch

from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.experts.kind import Expert
from mosaic_fl.experts.onnx.expert import OnnxExpert
from mosaic_fl.models import Classifier, build

CASES = (
    ((1, 8, 8), "cnn:16"),
    ((1, 8, 8), "mlp:64"),
    ((1, 28, 28), "cnn:16:3"),
    ((1, 28, 28), "mlp:128"),
    ((3, 32, 32), "cnn:16:3"),
    ((3, 32, 32), "resnet8"),
    ((3, 32, 32), "vit:64:4"),
)


def export(network: Classifier, schema: Schema) -> bytes:
    """The network as ONNX, for any number of samples."""
    file = io.BytesIO()
    names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": {"x": {0: "n"}, "y": {0: "n"}}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the older exporter, which needs no further package
        torch.onnx.export(network, (torch.zeros(2, *schema.shape),), file, dynamo=False, **names)
    return file.getvalue()


def seconds(expert: Expert, samples: Samples) -> float:
    """Seconds that the expert takes for the samples."""
    start = time.perf_counter()
    expert.log_probabilities(samples)
    return time.perf_counter() - start


def main() -> None:
    """Print a row a network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("samples        network     PyTorch s   ONNX s   ratio   start s")
    for shape, name in CASES:
        schema = image_schema(shape, tuple("0123456789"))
        torch.manual_seed(0)
        values = torch.randint(0, 256, (options.samples, *shape), dtype=torch.uint8)
        samples = Samples(schema.fields, {"image": values})
        network = build(name, schema).eval()
        content = export(network, schema)
        start = time.perf_counter()
        expert = OnnxExpert(content, schema, name)
        begun = time.perf_counter() - start
        both: tuple[Expert, Expert] = (network, expert)
        times = [[seconds(one, samples) for one in both] for _ in range(options.repeats)]
        inside, outside = (min(column) for column in zip(*times, strict=True))
        form = "×".join(map(str, shape))
        print(f"{form:14} {name:11} {inside:9.3f} {outside:8.3f} {outside / inside:7.2f} {begun:9.2f}")


if __name__ == "__main__":
    main()
