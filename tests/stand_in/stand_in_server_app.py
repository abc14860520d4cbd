"""A server that asks every client once and writes what it heard."""

import json
import os
import time
from pathlib import Path

from flwr.app import Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp

app = ServerApp()


@app.main()
def main(grid: Grid, _: Context) -> None:
    run = Path(os.environ["MOSAIC_RUN"])
    deployment = json.loads((run / "deployment.json").read_text())
    deadline = time.monotonic() + deployment["limits"]["join"]
    while len(nodes := sorted(grid.get_node_ids())) < deployment["clients"] and time.monotonic() < deadline:
        time.sleep(0.2)
    if len(nodes) < deployment["min_clients"]:
        (run / "failure.json").write_text(json.dumps({"error": f"{len(nodes)} clients joined", "exit_code": 1}))
        return
    print("mosaic: asking", len(nodes), flush=True)
    replies = list(grid.send_and_receive([Message(RecordDict(), node, "query") for node in nodes], timeout=40))
    said = [
        {"error": reply.error.reason} if reply.has_error() else {"site": reply.content["site"]["name"]}
        for reply in replies
    ]
    partial = run / ".result.partial"
    partial.write_text(json.dumps({"replies": said, "local_accuracy": [], "accuracy": 0.5, "method": "mosaic"}))
    partial.replace(run / "result.json")
