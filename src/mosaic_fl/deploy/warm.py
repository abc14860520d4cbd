"""Flower's executor at a client, warm: a message's process is forked from one that has imported everything.

Flower starts a new process for every message, which imports Flower, torch and this package: three to four seconds of
a core. Here `flower-superexec` imports them once, and first of all forks a *template*: a process of one thread that has
done nothing else and only waits. Flower's executor, unchanged but for the line that starts a client app, then runs as
before; that line asks the template for a fork instead. Every message still has a process of its own, behind the gate,
and dies with the executor that wanted it. Only on Linux: elsewhere each process is started anew.
"""

import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

from mosaic_fl.deploy.gate import ROLES, enter
from mosaic_fl.deploy.launch import die_with
from mosaic_fl.errors import UsageError

EXECUTOR = "flwr.supercore.superexec.executor.subprocess_executor"
LONGEST = 1 << 16  # bytes of an app's words: an address, a token and a few options


def require_known_executor() -> ModuleType:
    """Flower's module that starts processes; raises UsageError where it does so in another way than is known here."""
    from flwr.supercore.version import package_version

    try:
        module = importlib.import_module(EXECUTOR)
        names = module.SubprocessExecutor.launch.__code__.co_names
        known = module.subprocess is subprocess and "subprocess" in names and "Popen" in names
    except (ImportError, AttributeError):
        known = False
    if not known:
        raise UsageError(
            f"flwr {package_version} starts apps in another way than the versions that are known here: install "
            "'mosaic-fl[flower]' anew"
        )
    return module


def import_all() -> None:
    """Import what a message's process imports, and what torch imports when its parts are first used.

    Nothing that starts a thread, which a fork would not have: pyarrow stays out.
    """
    import flwr.supercore.cli.flower_superexec
    import flwr.supernode.cli.flwr_clientapp  # noqa: F401
    import torch

    import mosaic_fl.engines.flower.client_app  # noqa: F401
    from mosaic_fl.domains.image.schema import image_schema
    from mosaic_fl.models import check

    check("cnn:4", image_schema((1, 8, 8), ("0", "1")))
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)], fused=True)


def wait_as_template(asked: socket.socket) -> list[str] | None:
    """Wait for words, and return them in a fork of this process; returns None here where nobody can ask any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for those who supervise
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the dead
    template = os.getpid()
    while said := asked.recv(LONGEST):
        try:
            child = os.fork()
        except OSError as error:  # no memory or no process left: the stage goes on without this message's answer
            print(f"mosaic: a message's process cannot be started: {error.strerror}", file=sys.stderr, flush=True)
            continue
        if child == 0:
            die_with(template, signal.SIGKILL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            asked.close()
            return list(map(str, json.loads(said)))
    return None


def main() -> None:
    """Be `flower-superexec`, in the template, or in one of its forks a message's process: this never returns."""
    words = sys.argv[1:]
    module: Any = require_known_executor()
    ask, asked = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    executor = os.getpid()
    import_all()
    gc.freeze()  # what is there is not looked at again, so that all go on sharing its memory
    if os.fork() == 0:
        die_with(executor, signal.SIGKILL)
        ask.close()
        app = wait_as_template(asked)
        if app is not None:
            enter("client", app)
        os._exit(0)
    asked.close()

    def start(command: list[str], **options: Any) -> object:
        if command[0] != ROLES["client"] or options:
            return subprocess.Popen(command, **options)  # by its name, which is the gate's
        try:
            return ask.send(json.dumps(command[1:]).encode())
        except OSError:  # the template was killed: without a node the one who supervises starts both anew
            print("mosaic: the template is gone; the node ends", file=sys.stderr, flush=True)
            os.kill(os.getppid(), signal.SIGTERM)
            raise

    module.subprocess = SimpleNamespace(Popen=start, DEVNULL=subprocess.DEVNULL)
    from flwr.supercore.cli.flower_superexec import flower_superexec

    sys.argv = ["flower-superexec", *words]
    flower_superexec()


if __name__ == "__main__":
    main()
