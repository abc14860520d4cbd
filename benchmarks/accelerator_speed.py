"""Part (b) of `accelerator.py`: images a second of training, of a plain loop and of the product, side by side."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F

from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.experts.training import train_classifier
from mosaic_fl.models import build
from mosaic_fl.models.maps import measure
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.training.monitor import Recorder

BACKWARD = 3  # a training step is the operations of a forward pass, and twice as many


def compare(
    device: torch.device, shards: list[Dataset], *, tiny: bool, keep: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Each way of training all clients, one after the other, in each batch size: images a second, share of the limit.

    A way is timed with few steps a client and with more. The difference is its speed; the rest its start. `keep` gets
    the figures so far.
    """
    name = "resnet8" if tiny else "resnet18"
    few = 1 if tiny else 20
    limit = matrix_limit(device, tiny=tiny)
    operations = BACKWARD * forward_operations(name, shards[0])
    print(f"{limit / 1e12:.1f} TFLOP/s, {operations / 1e9:.2f} GFLOP an image and step", flush=True)
    rows = list[dict[str, Any]]()
    figures = {"matrix_limit": limit, "operations_an_image": operations, "model": name, "clients": len(shards)}
    figures["rows"] = rows
    for batch in (8,) if tiny else (64, 256):
        for way, train in ways(device).items():
            try:
                train(name, shards[0], batch, 1 if tiny else few)  # choice of kernels, memory
                short = timed(device, lambda train=train, batch=batch: [train(name, s, batch, few) for s in shards])
                long = timed(device, lambda train=train, batch=batch: [train(name, s, batch, 4 * few) for s in shards])
            except Exception as fault:  # the other ways still count
                rows.append({"way": way, "batch": batch, "fault": f"{type(fault).__name__}: {fault}"[:500]})
                continue
            rate = 3 * few * batch * len(shards) / (long - short)
            row = {"way": way, "batch": batch, "images_a_second": rate, "share_of_limit": rate * operations / limit}
            row |= {"with_start": 4 * few * batch * len(shards) / long, "seconds": long}
            rows.append(row)
            print(row, flush=True)
            keep(figures)
    return figures


def ways(device: torch.device) -> dict[str, Callable[[str, Dataset, int, int], None]]:
    """Ways to train an architecture on a client's data by batches of a size for so many steps."""
    half = device.type == "cuda"

    def by_hand(name: str, data: Dataset, batch: int, steps: int, *, bf16: bool) -> None:
        plain_loop(device, name, data, batch, steps, bf16=bf16)

    def product(name: str, data: Dataset, batch: int, steps: int, *, benchmark: bool = False) -> None:
        with cudnn_benchmark() if benchmark else nullcontext():
            ours(device, name, data, batch, steps)

    return {
        "plain loop, float32": lambda *words: by_hand(*words, bf16=False),
        "plain loop, bfloat16": lambda *words: by_hand(*words, bf16=half),
        "ours": product,
        "ours, cudnn.benchmark": lambda *words: product(*words, benchmark=True),
    }


def plain_loop(device: torch.device, name: str, data: Dataset, batch: int, steps: int, *, bf16: bool) -> None:
    """Training as one writes it by hand: data on the device, shifts and mirrors, fused AdamW, a look at the loss."""
    with Stream(0, "init").ambient():
        model = build(name, data.schema).to(device).train()
    images = data.images.to(device)
    labels = data.labels.to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2, fused=True)
    cast: AbstractContextManager[object] = torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext()
    for step in range(steps):
        index = torch.randint(len(labels), (batch,), device=device)
        x = images[index].float().div_(127.5).sub_(1)
        x = F.pad(x, (4, 4, 4, 4), "reflect")
        top, left = torch.randint(0, 9, (2,)).tolist()
        x = x[..., top : top + data.images.shape[2], left : left + data.images.shape[3]]
        if torch.rand(()) < 0.5:
            x = x.flip(3)
        with cast:
            loss = F.cross_entropy(model(x), labels[index])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        if step % 50 == 49:
            loss.item()


def ours(device: torch.device, name: str, data: Dataset, batch: int, steps: int) -> None:
    """The product's own training of a client, without looks at a validation split, which the loop has not."""
    words = {"train.min_steps": steps, "train.max_steps": steps, "train.batch_size": batch, "train.check_every": 50}
    settings = Config().with_values({**words, "train.patience": 0}).train
    with Stream(0, "init").ambient():
        model = build(name, data.schema)
    train_classifier(model, data, data.subset(torch.arange(0)), settings, Stream(0, "t"), device, Recorder())


def forward_operations(name: str, data: Dataset) -> int:
    """Floating-point operations of a forward pass for one image, two a multiplication with addition."""
    with torch.device("meta"):
        _, work = measure(build(name, data.schema), torch.zeros(2, *data.schema.shape))
    return work.operations


def matrix_limit(device: torch.device, *, tiny: bool) -> float:
    """Operations a second of a large square product in bfloat16, on random values: the median of ten."""
    side = 256 if tiny else 8192
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        a @ b
    return 2 * side**3 / statistics.median(timed(device, lambda: a @ b) for _ in range(10))


def timed(device: torch.device, work: Callable[[], Any]) -> float:
    """Seconds of `work`, all of it done."""
    wait(device)
    start = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - start


def wait(device: torch.device) -> None:
    """Wait for all work of the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def cudnn_benchmark() -> Iterator[None]:
    """Within the block cuDNN tries its kernels and takes the fastest."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
