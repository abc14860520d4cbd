"""The gate between Flower and this machine: a server can run the installed `mosaic_fl`, and no other code.

Flower's `flower-superexec` starts the commands `flwr-clientapp`, `flwr-serverapp`, `flwr-agentapp`, … by their names,
and each of them unpacks and imports the bundle of the run. `write_gate` makes a folder that comes before the system's
folders in PATH. One of these commands in it runs `python -m mosaic_fl.deploy.gate`; all others refuse. At a client on
Linux, a fork of `warm` calls the same `enter` instead.

The gate is Flower's own process with three functions of its module replaced. The function that unpacks the bundle
verifies it first, the one that loads the app loads the installed app, and the one that installs dependencies refuses.
At a client, nothing of the bundle is written to disk.
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
# The functions of each module that the gate replaces. The module must contain and use them.
REPLACEMENTS = {
    "client": ("install_from_fab", "get_load_client_app_fn", "install_app_dependencies"),
    "server": ("install_from_fab", "install_app_dependencies"),
}
EXECUTOR = "flower-superexec"  # Flower starts it, and it starts the other commands
WARM = sys.platform == "linux"  # whether a client uses the executor of `warm`
LOG = "MOSAIC_GATE_LOG"  # environment variable: the log for the output of the server's app, which Flower drops


def write_gate(folder: Path, role: str) -> Path:
    """Make `folder` the gate of `role` ("client" or "server"), private to this user; returns it.

    Raises UsageError if the code of the installed Flower is not as the gate expects.
    """
    require_app_module(role)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    for file in folder.iterdir():
        file.unlink()
    for name in flower_commands():
        script = folder / name
        script.write_text(_script(name, role), "utf-8")
        script.chmod(0o700)
    return folder


def flower_commands() -> set[str]:
    """Every command that Flower's executors can start by name, and every command that Flower installs."""
    from flwr.supercore.constant import TASK_TYPE_TO_COMMAND

    scripts = entry_points(group="console_scripts")
    commands = {script.name for script in scripts if script.name.startswith(("flwr", "flower-"))}
    return {*TASK_TYPE_TO_COMMAND.values(), *commands, EXECUTOR}


def _script(name: str, role: str) -> str:
    """The shell script for the command `name` of Flower: it starts the process of `role`, or refuses."""
    python = shlex.quote(sys.executable)
    # Each command ends with its parent, however that ends: a server's app that outlives its hub would write into the
    # folder of a resumed run.
    launcher = f"#!/bin/sh\nexec {python} -I -S {shlex.quote(str(LAUNCH))} $PPID {int(signal.SIGKILL)}"
    if name == EXECUTOR and role == "client" and WARM:
        return f'{launcher} {python} -P -m mosaic_fl.deploy.warm "$@"\n'
    if name == EXECUTOR:
        return f'{launcher} {shlex.quote(str(Path(sys.executable).parent / name))} "$@"\n'
    if name == ROLES[role]:
        return f'{launcher} {python} -P -m mosaic_fl.deploy.gate {role} "$@"\n'
    return f"#!/bin/sh\necho 'mosaic: refused to run {name}: a {role} runs {ROLES[role]} alone' >&2\nexit 1\n"


def require_app_module(role: str) -> ModuleType:
    """Flower's module that runs the app of `role`; raises UsageError if it does not use the names in `REPLACEMENTS`."""
    from flwr.supercore.constant import TASK_TYPE_TO_COMMAND
    from flwr.supercore.version import package_version

    try:
        module = importlib.import_module(MODULES[role])
        compatible = all(callable(getattr(module, name, None)) for name in REPLACEMENTS[role])
        names = getattr(module, f"run_{role}app").__code__.co_names
        compatible &= all(name in names for name in REPLACEMENTS[role]) and ROLES[role] in TASK_TYPE_TO_COMMAND.values()
    except (ImportError, AttributeError):
        compatible = False
    if not compatible:
        raise UsageError(
            f"flwr {package_version} runs apps in another way than the versions that this gate knows: install "
            "'mosaic-fl[flower]' anew"
        )
    return module


def install_gate(role: str) -> ModuleType:
    """Replace the functions in Flower's module of `role`, in this process; returns the module."""
    module: Any = require_app_module(role)
    original = module.install_from_fab

    def verify_and_install(content: bytes, *arguments: Any, **options: Any) -> Any:
        try:
            verify_bundle(content)
        except MosaicError as error:
            print(f"mosaic: {error}", file=sys.stderr, flush=True)
            raise
        # Only the server's process reads its app's settings from disk, so a client writes nothing.
        return original(content, *arguments, **options) if role == "server" else None

    def refuse(*_: Any, **__: Any) -> Any:
        raise MosaicError("no dependency of an app bundle is installed")

    module.install_from_fab = verify_and_install
    module.install_app_dependencies = refuse
    if role == "client":
        module.get_load_client_app_fn = lambda *_, **__: lambda *_: installed_app()
    return module  # type: ignore[no-any-return]


def installed_app() -> Any:
    """The installed client app, for any name of the bundle. The reason of a failure goes to the log here only."""
    from flwr.clientapp.client_app import LoadClientAppError

    module, _, attribute = CLIENT_APP.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:
        print(f"mosaic: the installed app cannot be loaded: {type(error).__name__}: {error}", file=sys.stderr)
        raise LoadClientAppError("the installed app cannot be loaded") from None


def enter(role: str, arguments: list[str]) -> None:
    """Run Flower's process of `role` with `arguments`, behind the gate."""
    sys.argv = [ROLES[role], *arguments]
    try:
        install_gate(role)
    except MosaicError as error:
        sys.exit(f"mosaic: {error}")
    getattr(importlib.import_module(MAINS[role]), f"flwr_{role}app")()


def main() -> None:
    """Run Flower's process behind the gate: the first argument is the role, the others are for the process."""
    role = sys.argv[1]
    arguments = sys.argv[2:]
    if log := os.environ.get(LOG):
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
    enter(role, arguments)


if __name__ == "__main__":
    main()
