"""The app bundle that Flower requires: a name and a version, no code. A client refuses every other bundle."""

import io
import tomllib
import zipfile
import zlib
from pathlib import Path
from typing import Any

from mosaic_fl.errors import MosaicError
from mosaic_fl.release import release
from mosaic_fl.storage.files import write_atomic

CLIENT_APP = "mosaic_fl.engines.flower.client_app:app"
SERVER_APP = "mosaic_fl.deploy.server_app:app"
NAME = "mosaic-fl-app"
PUBLISHER = "mosaic-fl"
MANIFEST = ".info/CONTENT"  # `flwr build` adds it: names, hashes and sizes
LIMIT = 64 << 10  # bytes of an unpacked file: the real one has a few hundred


def pyproject() -> str:
    """The whole app: the text of its pyproject.toml, with the installed version."""
    return f"""[project]
name = "{NAME}"
version = "{release()}"
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

    Nothing is unpacked to disk or imported. The bundle may hold its pyproject.toml and Flower's manifest only. The
    pyproject.toml must say what `pyproject` says, and no more: no module, no run configuration, no dependency.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            names = sorted(member.filename for member in members)
            if names != sorted([MANIFEST, "pyproject.toml"]):
                extra = [name for name in names if name not in (MANIFEST, "pyproject.toml")]
                raise refusal(f"it brings {_first_name(extra)}" if extra else "it is incomplete")
            if any(member.file_size > LIMIT for member in members):
                raise refusal("it is far too large")
            text = archive.read("pyproject.toml")
        app = tomllib.loads(text.decode("utf-8"))
    except (zipfile.BadZipFile, zlib.error, ValueError, OSError, RuntimeError, NotImplementedError, EOFError) as error:
        raise refusal("it cannot be read") from error
    _require_same_app(app)


def _require_same_app(app: dict[str, Any]) -> None:
    """Raise MosaicError unless the pyproject.toml `app` has the same content as that of this package."""
    own_app = tomllib.loads(pyproject())
    project = app.get("project", {})
    own_version = release()
    if not isinstance(project, dict) or project.get("name") != NAME:
        raise refusal("it is another app")
    if project.get("version") != own_version:
        server_version = str(project.get("version"))[:20]
        raise MosaicError(
            f"the server runs mosaic-fl {server_version}, this client {own_version}: install the same version"
        )
    for file in (own_app, app):
        file["project"].pop("description", None)
        file["project"].pop("license", None)
    if app != own_app:
        raise refusal("its pyproject.toml says more than the name of the installed mosaic_fl")


def refusal(reason: str) -> MosaicError:
    """The error for a refused bundle."""
    return MosaicError(f"the server's app bundle was refused: {reason}; this client runs its installed mosaic_fl alone")


def _first_name(names: list[str]) -> str:
    """The first name, printable because a server chose it, and the number of the others."""
    first = "".join(c if c.isprintable() else "?" for c in names[0][:60])
    return repr(first) + (f" and {len(names) - 1} more files" if len(names) > 1 else "")
