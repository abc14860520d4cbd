"""Flower's server app of a deployed run: it takes the run's folder from the environment of its process."""

import os
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from mosaic_fl.deploy.serving import RUN_VARIABLE, serve

app = ServerApp()


@app.main()  # type: ignore[untyped-decorator,unused-ignore]
def main(grid: Grid, context: Context) -> None:
    """Serve the run whose folder the environment names. The configuration of the bundle or of `flwr run` is ignored."""
    serve(grid, Path(os.environ[RUN_VARIABLE]))
