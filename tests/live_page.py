"""What the tests of `mosaic status --web` share: a federation at work, and its page in this process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mosaic_fl.report.live.server import PageServer
from mosaic_fl.watch import Watch

EVIL = "<img src=x onerror=alert(1)>"


def grow(folder: Path) -> Watch:
    """A federation at work: of three clients one has answered, one has a name that is HTML, one is left out."""
    watch = Watch(folder, stream=None)
    watch.tell("run_started", expected=[0, 1, 2])
    for k, node in enumerate(["north", EVIL, "south"]):
        watch.tell("joined", k, node=node, architecture="cnn:16", samples=10)
    watch.tell("stage_started", stage="contribute", expected=[0, 1, 2], limit=600)
    watch.tell("received", 0, stage="contribute", bytes=1_234_567, seconds=3.0)
    watch.tell("left_out", 2, stage="contribute", reason=f"late {EVIL}")
    return watch


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of the page of the run in `folder`, while the block lasts."""
    with PageServer(folder) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.address
        finally:
            server.shutdown()
            thread.join()
