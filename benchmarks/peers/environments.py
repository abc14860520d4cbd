"""An environment of its own for each framework, made once: the torch of this one, and the framework."""

import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

READING = ("pyarrow", "pillow", "numpy")  # what reads the data


@dataclass(frozen=True)
class Peer:
    """A framework: the script that runs the experiment on it, its packages, those to be installed without theirs."""

    script: str
    packages: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()


PEERS = {
    "flower": Peer("flower_app.py", ("flwr[simulation]==1.41.0",)),
    # Its own requirement of torchvision would bring another torch, as this one is for CPUs.
    "fluke": Peer("fluke_run.py", ("fluke-fl==0.8.1",), ("torchvision==0.28.0",)),
    "pfl": Peer("pfl_run.py", ("pfl[pytorch]==0.6.0",)),
}


class NotInstalledError(Exception):
    """Why an environment could not be made, in one line."""


def python_of(name: str, folder: Path) -> Path:
    """The interpreter of a framework's environment in `folder`, which is made where it is not there.

    Raises NotInstalledError; the whole of pip's output is in NAME.log.
    """
    home = folder / name
    python = home / "bin" / "python"
    stamp = home / ".packages"
    peer = PEERS[name]
    torch = f"torch=={version('torch').partition('+')[0]}"
    wanted = "\n".join((torch, *peer.alone, *peer.packages))
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"{name}: an environment in {home}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    with (folder / f"{name}.log").open("w") as log:
        steps = [] if (home / "bin" / "pip").exists() else [[sys.executable, "-m", "venv", str(home)]]
        steps += [[*pip, torch, *READING]]
        steps += [[*pip, "--no-deps", *peer.alone]] if peer.alone else []
        steps += [[*pip, torch, *peer.packages]]
        for step in steps:
            if subprocess.run(step, stdout=log, stderr=subprocess.STDOUT, check=False).returncode:
                raise NotInstalledError(last_error(folder / f"{name}.log"))
    stamp.write_text(wanted)
    return python


def last_error(log: Path) -> str:
    """The last line of a log that names an error, else its last one; 200 characters at most."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()] or ["no output"]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines)[-1][:200]


def versions(python: Path, packages: tuple[str, ...]) -> dict[str, str]:
    """The versions of `packages` in the environment of `python`; what is not there is left out."""
    code = (
        "import sys; from importlib.metadata import version as v, PackageNotFoundError as N\n"
        "for p in sys.argv[1:]:\n try: print(p, v(p))\n except N: pass"
    )
    words = [str(python), "-c", code, *packages]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    return dict(line.split(" ", 1) for line in lines)
