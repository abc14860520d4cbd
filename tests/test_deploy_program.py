"""Flower's programs end with their work, and their database waits for its lock."""

import sqlite3
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("flwr")

from mosaic_fl.deploy.program import WAIT, set_database_pragmas

# As flower-supernode: a server's thread that nobody ends, and a main thread that does its work.
SERVES = """
import sys, threading, time
threading.Thread(target=time.sleep, args=(3600,)).start()
print("serving", *sys.argv[1:])
"""
ENDS = [
    ("", 0, ""),
    ("sys.exit(0)", 0, ""),
    ("sys.exit(3)", 3, ""),
    ("sys.exit('no server')", 1, "no server"),
    ("raise RuntimeError('500 Internal Server Error')", 1, "RuntimeError: 500 Internal Server Error"),
]


@pytest.mark.parametrize(("last", "code", "said"), ENDS)
def test_a_program_with_a_thread_that_does_not_end_ends(tmp_path: Path, last: str, code: int, said: str) -> None:
    program = tmp_path / "flower-supernode"
    program.write_text(SERVES + last)
    words = [sys.executable, "-P", "-m", "mosaic_fl.deploy.program", program, "--port", "7"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (code, "serving --port 7\n")
    assert done.stderr.strip().endswith(said)


def test_the_hubs_database_waits_for_its_lock_and_for_no_disk(tmp_path: Path) -> None:
    program = tmp_path / "flower-superlink"
    program.write_text("""
import sys
from flwr.supercore import sql_mixin
from sqlalchemy import create_engine, event, text
engine = create_engine(f"sqlite:///{sys.argv[1]}")
event.listen(engine, "connect", sql_mixin._set_sqlite_pragmas)
with engine.connect() as connection:
    for name in ("busy_timeout", "synchronous", "journal_mode", "foreign_keys"):
        print(connection.execute(text(f"PRAGMA {name}")).scalar())
""")
    words = [sys.executable, "-P", "-m", "mosaic_fl.deploy.program", program, tmp_path / "state.db"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    off = 0
    assert done.stdout.split() == [str(WAIT), str(off), "wal", "1"]
    assert sqlite3.connect(tmp_path / "state.db").execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_flower_without_these_settings_is_left_as_it_is() -> None:
    constants = SimpleNamespace(SQLITE_PRAGMAS=(("busy_timeout", "5000"), ("cache_size", "-64000")))
    set_database_pragmas(constants)
    assert dict(constants.SQLITE_PRAGMAS) == {"busy_timeout": str(WAIT), "cache_size": "-64000"}
    empty = SimpleNamespace()
    set_database_pragmas(empty)
    assert empty.SQLITE_PRAGMAS == ()
