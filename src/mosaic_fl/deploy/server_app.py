"""Flower's server app of a deployed run: it finds its folder in the environment of the process that Flower starts."""

import os
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from mosaic_fl.deploy.serving import RUN_VARIABLE, serve

app = ServerApp()


@app.main()  # type: ignore[untyped-decorator,unused-ignore]
def main(grid: Grid, context: Context) -> None:
    """Serve the run whose folder the environment names. What the bundle or `flwr run` configures counts for nothing."""
    serve(grid, Path(os.environ[RUN_VARIABLE]))
