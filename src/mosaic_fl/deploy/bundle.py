"""The thin Flower app: a name and a version, no code. A client takes no other."""

import io
import tomllib
import zipfile
import zlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mosaic_fl.errors import MosaicError
from mosaic_fl.storage.files import write_atomic

CLIENT_APP = "mosaic_fl.engines.flower.client_app:app"
SERVER_APP = "mosaic_fl.deploy.server_app:app"
NAME = "mosaic-fl-app"
PUBLISHER = "mosaic-fl"
MANIFEST = ".info/CONTENT"  # what `flwr build` adds: names, hashes and sizes
LIMIT = 64 << 10  # bytes of a file once unpacked: the real one has a few hundred


def pyproject() -> str:
    """The whole app as its pyproject.toml, of the version that is installed here."""
    return f"""[project]
name = "{NAME}"
version = "{version("mosaic-fl")}"
description = "Names the installed mosaic_fl; holds no code."
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "{PUBLISHER}"

[tool.flwr.app.components]
serverapp = "{SERVER_APP}"
clientapp = "{CLIENT_APP}"
"""


def write_bundle(folder: Path) -> None:
    """Write the app into `folder`, for `flwr run`."""
    write_atomic(folder / "pyproject.toml", pyproject())


def verify_bundle(content: bytes) -> None:
    """Raise MosaicError unless `content`, a Flower app bundle, is this app in the version installed here.

    Nothing is unpacked to disk or imported. The bundle may hold its pyproject.toml and Flower's manifest, and the
    former may say what `pyproject` says and nothing else: no module, no run configuration, no dependency.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            names = sorted(member.filename for member in members)
            if names != sorted([MANIFEST, "pyproject.toml"]):
                extra = [name for name in names if name not in (MANIFEST, "pyproject.toml")]
                raise refusal(f"it brings {_shown(extra)}" if extra else "it is incomplete")
            if any(member.file_size > LIMIT for member in members):
                raise refusal("it is far too large")
            text = archive.read("pyproject.toml")
        app = tomllib.loads(text.decode("utf-8"))
    except (zipfile.BadZipFile, zlib.error, ValueError, OSError, RuntimeError, NotImplementedError, EOFError) as error:
        raise refusal("it cannot be read") from error
    _require_ours(app)


def _require_ours(app: dict[str, Any]) -> None:
    ours = tomllib.loads(pyproject())
    theirs = app.get("project", {})
    here = version("mosaic-fl")
    if not isinstance(theirs, dict) or theirs.get("name") != NAME:
        raise refusal("it is another app")
    if theirs.get("version") != here:
        raise MosaicError(
            f"the server runs mosaic-fl {str(theirs.get('version'))[:20]}, this client {here}: install the same version"
        )
    for file in (ours, app):
        file["project"].pop("description", None)
        file["project"].pop("license", None)
    if app != ours:
        raise refusal("its pyproject.toml says more than the name of the installed mosaic_fl")


def refusal(reason: str) -> MosaicError:
    """The error for a bundle that is not taken."""
    return MosaicError(f"the server's app bundle was refused: {reason}; this client runs its installed mosaic_fl alone")


def _shown(names: list[str]) -> str:
    """The first of the names, printable: a server chose them."""
    first = "".join(c if c.isprintable() else "?" for c in names[0][:60])
    return repr(first) + (f" and {len(names) - 1} more files" if len(names) > 1 else "")
