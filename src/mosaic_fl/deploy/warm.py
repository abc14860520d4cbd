"""A warm executor of Flower at a client: the process of a message is a fork of one that has imported everything.

Flower starts a new process for every message. It imports Flower, torch and this package, which takes three to four
seconds of a core. Here `flower-superexec` imports them once and then forks a *template*: a process with one thread
that only waits. After that, Flower's executor runs as usual, except for the line that starts a client app: it asks
the template for a fork. Every message still has its own process behind the gate, which dies with the executor. This
works on Linux only: elsewhere each process starts anew.
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
LONGEST = 1 << 16  # bytes of an app's arguments: an address, a token and a few options


def require_executor_module() -> ModuleType:
    """Flower's module that starts processes; raises UsageError if its code is not as this file expects."""
    from flwr.supercore.version import package_version

    try:
        module = importlib.import_module(EXECUTOR)
        names = module.SubprocessExecutor.launch.__code__.co_names
        compatible = module.subprocess is subprocess and "subprocess" in names and "Popen" in names
    except (ImportError, AttributeError):
        compatible = False
    if not compatible:
        raise UsageError(
            f"flwr {package_version} starts apps in another way than the versions that are known here: install "
            "'mosaic-fl[flower]' anew"
        )
    return module


def import_all() -> None:
    """Import the modules of a message's process, and those that torch imports at the first use of its parts.

    Modules that start a thread are left out (pyarrow), because a fork does not have the thread.
    """
    import flwr.supercore.cli.flower_superexec
    import flwr.supernode.cli.flwr_clientapp  # noqa: F401
    import torch

    import mosaic_fl.engines.flower.client_app  # noqa: F401
    from mosaic_fl.domains.image.schema import image_schema
    from mosaic_fl.models import check

    check("cnn:4", image_schema((1, 8, 8), ("0", "1")))
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)], fused=True)


def wait_as_template(requests: socket.socket) -> list[str] | None:
    """Wait for requests with the arguments of an app. Each is returned in a fork of this process.

    In the template itself, returns None when the executor has closed its end of `requests`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the supervising process
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the forks
    template = os.getpid()
    while request := requests.recv(LONGEST):
        try:
            child = os.fork()
        except OSError as error:  # no memory, or too many processes: the stage goes on without this answer
            print(f"mosaic: a message's process cannot be started: {error.strerror}", file=sys.stderr, flush=True)
            continue
        if child == 0:
            die_with(template, signal.SIGKILL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            requests.close()
            return list(map(str, json.loads(request)))
    return None


def main() -> None:
    """Run as `flower-superexec`; in the template or one of its forks, as those. This never returns."""
    arguments = sys.argv[1:]
    module: Any = require_executor_module()
    executor_end, template_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    executor = os.getpid()
    import_all()
    gc.freeze()  # the collector ignores the present objects, so that all forks share their memory
    if os.fork() == 0:
        die_with(executor, signal.SIGKILL)
        executor_end.close()
        app_arguments = wait_as_template(template_end)
        if app_arguments is not None:
            enter("client", app_arguments)
        os._exit(0)
    template_end.close()

    def start(command: list[str], **options: Any) -> object:
        if command[0] != ROLES["client"] or options:
            return subprocess.Popen(command, **options)  # found by its name in the gate
        try:
            return executor_end.send(json.dumps(command[1:]).encode())
        except OSError:  # the template was killed: end the node, so that the supervisor starts both anew
            print("mosaic: the template is gone; the node ends", file=sys.stderr, flush=True)
            os.kill(os.getppid(), signal.SIGTERM)
            raise

    module.subprocess = SimpleNamespace(Popen=start, DEVNULL=subprocess.DEVNULL)
    from flwr.supercore.cli.flower_superexec import flower_superexec

    sys.argv = ["flower-superexec", *arguments]
    flower_superexec()


if __name__ == "__main__":
    main()
