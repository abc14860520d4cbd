"""A client that says which site it is."""

from pathlib import Path

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.query()
def query(message: Message, context: Context) -> Message:
    site = Path(str(context.node_config["site"]))
    return Message(RecordDict({"site": ConfigRecord({"name": site.name})}), reply_to=message)
