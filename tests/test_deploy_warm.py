"""The warm executor: every message's process is a fork of one that has imported everything, and dies with it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("flwr")

from mosaic_fl.deploy.gate import write_gate
from mosaic_fl.deploy.processes import parent
from mosaic_fl.deploy.warm import require_executor_module
from mosaic_fl.errors import UsageError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every process is started anew")

# An executor that asks for one process for each line on its stdin; a process says what it is and waits to be killed.
EXECUTOR = """
import json, os, signal, socket, sys
from mosaic_fl.deploy.launch import die_with
from mosaic_fl.deploy.warm import wait_as_template

def fork(real=os.fork, failures=[OSError(12, "Cannot allocate memory")] * ("fails" in sys.argv)):
    if failures:
        raise failures.pop()
    return real()

ask, asked = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
executor = os.getpid()
if os.fork() == 0:
    os.fork = fork
    die_with(executor, signal.SIGKILL)
    ask.close()
    words = wait_as_template(asked)
    if words is None:
        os._exit(0)
    handlers = [signal.getsignal(s) is h for s, h in
                ((signal.SIGINT, signal.default_int_handler), (signal.SIGCHLD, signal.SIG_DFL))]
    print(json.dumps([os.getpid(), os.getppid(), words, handlers]), flush=True)
    signal.pause()
asked.close()
for line in sys.stdin:
    ask.send(json.dumps(line.split()).encode())
ask.close()
os.wait()
"""


@pytest.fixture
def executor(request: pytest.FixtureRequest):
    words = [sys.executable, "-c", EXECUTOR, *getattr(request, "param", [])]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    yield process
    process.kill()
    process.wait()


def _ask(executor: "subprocess.Popen[str]", words: str) -> tuple[int, int]:
    """Ask for a process of these words; returns it and its parent."""
    assert executor.stdin
    assert executor.stdout
    executor.stdin.write(f"{words}\n")
    pid, template, said, handlers = json.loads(executor.stdout.readline())
    assert said == words.split()
    assert handlers == [True, True]
    return pid, template


def _gone(*pids: int) -> None:
    deadline = time.monotonic() + 20
    while any(parent(pid) is not None for pid in pids):
        assert time.monotonic() < deadline, "a process lives on"
        time.sleep(0.02)


def test_each_message_has_a_process_of_its_own_with_its_own_words(executor: "subprocess.Popen[str]") -> None:
    first, template = _ask(executor, "--token a")
    second, same = _ask(executor, "--token b")
    assert first != second
    assert template == same == parent(first) == parent(second)
    assert parent(template) == executor.pid
    os.kill(first, signal.SIGKILL)
    _gone(first)  # buried at once: a zombie would count as alive
    assert _ask(executor, "--token c")[1] == template


def test_everything_ends_with_the_executor_that_is_killed(executor: "subprocess.Popen[str]") -> None:
    worker, template = _ask(executor, "x")
    executor.kill()
    executor.wait()
    _gone(worker, template)


def test_the_template_ends_when_nobody_can_ask_any_more(executor: "subprocess.Popen[str]") -> None:
    assert executor.stdin
    executor.stdin.close()
    assert executor.wait(20) == 0


@pytest.mark.parametrize("executor", [["fails"]], indirect=True)
def test_a_process_that_cannot_be_started_costs_its_message_and_no_other(executor: "subprocess.Popen[str]") -> None:
    assert executor.stdin
    executor.stdin.write("--token lost\n")
    worker, template = _ask(executor, "--token kept")
    assert parent(worker) == template


def test_what_is_imported_before_the_fork_starts_no_thread_and_no_cuda() -> None:
    code = (
        "import sys, os, torch, mosaic_fl.deploy.warm as w; w.import_all(); print(len(os.listdir('/proc/self/task')))"
    )
    code += "; print(torch.cuda.is_initialized(), 'flwr.supernode.runtime.run_clientapp' in sys.modules)"
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    assert said.split() == ["1", "False", "True"]


def test_only_a_clients_executor_is_warm(tmp_path: Path) -> None:
    scripts = {
        role: (write_gate(tmp_path / role, role) / "flower-superexec").read_text() for role in ("client", "server")
    }
    assert "mosaic_fl.deploy.warm" in scripts["client"]
    assert "mosaic_fl.deploy.warm" not in scripts["server"]


def test_an_executor_of_another_shape_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    module = require_executor_module()
    monkeypatch.setattr(module.SubprocessExecutor, "launch", lambda self, spec: None)
    with pytest.raises(UsageError, match="starts apps in another way"):
        require_executor_module()
