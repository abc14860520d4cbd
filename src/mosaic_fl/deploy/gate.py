"""The gate between Flower and this machine: what a server asks for runs the installed `mosaic_fl` or nothing.

Flower's `flower-superexec` starts the commands `flwr-clientapp`, `flwr-serverapp`, `flwr-agentapp`, … by their names,
and each of them unpacks and imports what the run's bundle brings. `write_gate` makes a folder that stands alone before
the system's in PATH: one of these commands runs `python -m mosaic_fl.deploy.gate` (at a client on Linux a fork that
`warm` makes, which comes in by the same `enter`), all others refuse. The gate is
Flower's own process with three names of its module replaced: the one that unpacks the bundle verifies it first, the
one that loads the app loads the installed one, the one that installs dependencies refuses. At a client nothing of the
bundle is written at all.
"""

import importlib
import os
import shlex
import signal
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from mosaic_fl.deploy.bundle import CLIENT_APP, verify_bundle
from mosaic_fl.deploy.processes import LAUNCH
from mosaic_fl.errors import MosaicError, UsageError

ROLES = {"client": "flwr-clientapp", "server": "flwr-serverapp"}
MODULES = {"client": "flwr.supernode.runtime.run_clientapp", "server": "flwr.superlink.runtime.run_serverapp"}
MAINS = {"client": "flwr.supernode.cli.flwr_clientapp", "server": "flwr.superlink.cli.flwr_serverapp"}
# What each module must have for its replacement to be the one that is called.
REPLACED = {
    "client": ("install_from_fab", "get_load_client_app_fn", "install_app_dependencies"),
    "server": ("install_from_fab", "install_app_dependencies"),
}
PASSED = "flower-superexec"  # started by Flower itself; it starts the rest
WARM = sys.platform == "linux"  # whether a client has `warm` for its executor
LOG = "MOSAIC_GATE_LOG"  # environment: where the server's app writes what it prints, which Flower drops


def write_gate(folder: Path, role: str) -> Path:
    """Make `folder` the gate of `role` ("client" or "server"), private to this user; returns it.

    Raises UsageError where the installed Flower has not the shape that the gate knows.
    """
    require_known_flower(role)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    for old in folder.iterdir():
        old.unlink()
    for name in flower_commands():
        script = folder / name
        script.write_text(_script(name, role), "utf-8")
        script.chmod(0o700)
    return folder


def flower_commands() -> set[str]:
    """Every command that Flower's executors could start by name, and all that Flower installs."""
    from flwr.supercore.constant import TASK_TYPE_TO_COMMAND

    scripts = entry_points(group="console_scripts")
    installed = {script.name for script in scripts if script.name.startswith(("flwr", "flower-"))}
    return {*TASK_TYPE_TO_COMMAND.values(), *installed, PASSED}


def _script(name: str, role: str) -> str:
    python = shlex.quote(sys.executable)
    # Each ends when the process above it does, whatever buries that: a server's app that outlives its hub would write
    # into the folder of the run that is taken up again.
    leashed = f"#!/bin/sh\nexec {python} -I -S {shlex.quote(str(LAUNCH))} $PPID {int(signal.SIGKILL)}"
    if name == PASSED and role == "client" and WARM:
        return f'{leashed} {python} -P -m mosaic_fl.deploy.warm "$@"\n'
    if name == PASSED:
        return f'{leashed} {shlex.quote(str(Path(sys.executable).parent / name))} "$@"\n'
    if name == ROLES[role]:
        return f'{leashed} {python} -P -m mosaic_fl.deploy.gate {role} "$@"\n'
    return f"#!/bin/sh\necho 'mosaic: refused to run {name}: a {role} runs {ROLES[role]} alone' >&2\nexit 1\n"


def require_known_flower(role: str) -> ModuleType:
    """Flower's module of `role`; raises UsageError where a name that the gate replaces is not in it."""
    from flwr.supercore.constant import TASK_TYPE_TO_COMMAND
    from flwr.supercore.version import package_version

    try:
        module = importlib.import_module(MODULES[role])
        known = all(callable(getattr(module, name, None)) for name in REPLACED[role])
        used = f"run_{role}app"
        names = getattr(module, used).__code__.co_names
        known &= all(name in names for name in REPLACED[role]) and ROLES[role] in TASK_TYPE_TO_COMMAND.values()
    except (ImportError, AttributeError):
        known = False
    if not known:
        raise UsageError(
            f"flwr {package_version} runs apps in another way than the versions that this gate knows: install "
            "'mosaic-fl[flower]' anew"
        )
    return module


def close(role: str) -> ModuleType:
    """Put the gate into Flower's module of `role` in this process; returns the module."""
    module: Any = require_known_flower(role)
    install = module.install_from_fab

    def verified(content: bytes, *arguments: Any, **options: Any) -> Any:
        try:
            verify_bundle(content)
        except MosaicError as error:
            print(f"mosaic: {error}", file=sys.stderr, flush=True)
            raise
        # The server's process reads its app's settings from disk; a client's does not, so nothing is written.
        return install(content, *arguments, **options) if role == "server" else None

    def refuse(*_: Any, **__: Any) -> Any:
        raise MosaicError("no dependency of an app bundle is installed")

    module.install_from_fab = verified
    module.install_app_dependencies = refuse
    if role == "client":
        module.get_load_client_app_fn = lambda *_, **__: lambda *_: installed_app()
    return module  # type: ignore[no-any-return]


def installed_app() -> Any:
    """The installed client app, whatever the bundle is called; its reason to fail stays here, in the log."""
    from flwr.clientapp.client_app import LoadClientAppError

    module, _, attribute = CLIENT_APP.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:
        print(f"mosaic: the installed app cannot be loaded: {type(error).__name__}: {error}", file=sys.stderr)
        raise LoadClientAppError("the installed app cannot be loaded") from None


def enter(role: str, words: list[str]) -> None:
    """Be Flower's process of `role` with these words, behind the gate."""
    sys.argv = [ROLES[role], *words]
    try:
        close(role)
    except MosaicError as error:
        sys.exit(f"mosaic: {error}")
    getattr(importlib.import_module(MAINS[role]), f"flwr_{role}app")()


def main() -> None:
    """Run Flower's process of the role named first, with the arguments that follow, behind the gate."""
    role = sys.argv[1]
    words = sys.argv[2:]
    if log := os.environ.get(LOG):
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
    enter(role, words)


if __name__ == "__main__":
    main()
