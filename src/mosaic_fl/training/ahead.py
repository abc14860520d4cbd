"""Draws made ahead of the steps that need them, so that a device never waits for the CPU."""

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor

from torch import Tensor

Tensors = tuple[Tensor, ...]
Draw = Callable[[int], Tensors]
"""The number of a step, from 0 -> what it draws at random, on the CPU: indices, noise, shifts."""

AHEAD = 16  # steps


def drawn_ahead(draw: Draw, steps: int) -> Generator[Tensors]:
    """What `draw` gives for each step, in order, made by one thread up to `AHEAD` steps before it is needed.

    So all draws come from the same generators in the same order as without a thread. After a caller that stops early
    the generators have gone on further. Raises what `draw` raises. The thread touches no device.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="draws") as pool:
        waiting = deque(pool.submit(draw, step) for step in range(min(AHEAD, steps)))
        try:
            for step in range(steps):
                tensors = waiting.popleft().result()
                if step + AHEAD < steps:
                    waiting.append(pool.submit(draw, step + AHEAD))
                yield tensors
        finally:
            pool.shutdown(cancel_futures=True)
