"""Which app bundles a client takes: its own in its own version, and no other."""

import io
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from mosaic_fl.deploy.bundle import CLIENT_APP, MANIFEST, pyproject, verify_bundle, write_bundle
from mosaic_fl.errors import MosaicError

HERE = version("mosaic-fl")


def _zip(files: dict[str, str | bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


def _ours(text: str) -> bytes:
    return _zip({"pyproject.toml": text, MANIFEST: ""})


def test_what_flower_builds_of_our_own_bundle_is_taken(tmp_path: Path) -> None:
    build = pytest.importorskip("flwr.cli.build")
    write_bundle(tmp_path / "mosaic-fl-app")
    verify_bundle(build.build_fab_from_disk(tmp_path / "mosaic-fl-app"))


@pytest.mark.parametrize(
    ("bundle", "reason"),
    [
        (b"", "cannot be read"),
        (b"PK\x03\x04 and no more", "cannot be read"),
        (_zip({"pyproject.toml": pyproject()}), "incomplete"),
        (_zip({"pyproject.toml": pyproject(), MANIFEST: "", "evil.py": ""}), "brings 'evil.py'"),
        (_zip({"pyproject.toml": pyproject(), MANIFEST: "", "mosaic_fl/__init__.py": ""}), "brings 'mosaic_fl/"),
        (_zip({"pyproject.toml": pyproject(), MANIFEST: "", "../../x\n\x1b[31m": ""}), "brings '../../x??[31m'"),
        (_zip({"pyproject.toml": b" " * 100_000, MANIFEST: ""}), "far too large"),
        (_ours("no = [toml"), "cannot be read"),
        (_ours("project = 1"), "another app"),
        (_ours(pyproject().replace("mosaic-fl-app", "other-app")), "another app"),
        (_ours(pyproject().replace(CLIENT_APP, "os:system")), "says more"),
        (_ours(pyproject().replace("dependencies = []", 'dependencies = ["evil"]')), "says more"),
        (_ours(pyproject() + "\n[tool.flwr.app.config]\npath = '/etc'\n"), "says more"),
        (_ours(pyproject() + "\n[build-system]\nrequires = ['evil']\n"), "says more"),
    ],
)
def test_every_other_bundle_is_refused(bundle: bytes, reason: str) -> None:
    with pytest.raises(MosaicError, match="refused") as caught:
        verify_bundle(bundle)
    assert reason in str(caught.value)
    assert str(caught.value).isprintable()


def test_another_version_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = _ours(pyproject())
    monkeypatch.setattr("mosaic_fl.deploy.bundle.release", lambda: "9.9.9")
    with pytest.raises(MosaicError, match=f"the server runs mosaic-fl {HERE}, this client 9.9.9: install the same"):
        verify_bundle(theirs)
