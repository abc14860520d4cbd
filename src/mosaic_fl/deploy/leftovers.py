"""What a deployed run leaves on the server's disk of what clients sent, and its removal."""

from mosaic_fl.deploy.plan import ServerPlan
from mosaic_fl.storage.container import MAX_FILE
from mosaic_fl.storage.encryption import encrypt, is_encrypted
from mosaic_fl.storage.files import read_bytes, write_atomic
from mosaic_fl.storage.journal import Journal


def clear(plan: ServerPlan) -> None:
    """After the end of a run: its messages and stages go, and its contributions are encrypted for their readers."""
    remove_database(plan)
    Journal(plan.out).clear()
    if plan.readers:
        _encrypt(plan)


def remove_database(plan: ServerPlan) -> None:
    """Remove Flower's database: Flower cannot resume a run, and nodes and keys of an earlier start must not stay."""
    for path in plan.flower.glob("state.db*"):
        path.unlink(missing_ok=True)


def _encrypt(plan: ServerPlan) -> None:
    for path in sorted((plan.out / "contributions").glob("*.contribution")):
        content = read_bytes(path, MAX_FILE)
        if not is_encrypted(content):
            write_atomic(path, encrypt(content, plan.readers))
