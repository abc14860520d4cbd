"""Entry point of `mosaic`: the list of subcommands, and the one line in which every error ends."""

import io
import os
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer
from click import ClickException

from mosaic_fl.cli import (
    audit,
    audit_log,
    black_box,
    check,
    compare,
    contribute,
    data,
    deploy,
    evaluate,
    export,
    files,
    inspection,
    keys,
    methods,
    predict,
    report,
    run,
    schema,
    status,
    summary,
    withdraw,
)
from mosaic_fl.cli.app import App, TextCommand
from mosaic_fl.cli.usage import usage_line
from mosaic_fl.errors import MosaicError
from mosaic_fl.notes import print_notes
from mosaic_fl.release import release

RESUMABLE = {"run", "compare", "distill", "server"}
RESUME = "; what was finished is kept: go on with --resume"
AGAIN = "; the same command ends it"
INTERRUPTED = 130  # what typer returns for Ctrl-C

app = App(
    "One global model from private data at many sites and models of any architecture.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("run")(run.run)
app.command("compare")(compare.compare)
app.command("report")(report.report)
app.command("summary")(summary.summary)
app.command("data")(data.data)
app.command("schema")(schema.schema)
app.command("contribute")(contribute.contribute)
app.command("audit")(audit.audit)
app.command("check")(check.check)
app.command("distill")(files.distill)
app.command("inspect")(inspection.inspect)
app.command("withdraw")(withdraw.withdraw)
app.command("query")(black_box.query)
app.command("answer")(black_box.answer)
app.command("export")(export.export)
app.command("predict", cls=TextCommand)(predict.predict)
app.command("evaluate")(evaluate.evaluate)
app.command("collect")(evaluate.collect)
app.add_typer(keys.app, name="keys")
app.add_typer(deploy.app, name="deploy")
app.add_typer(audit_log.app, name="audit-log")
app.command("methods")(methods.methods)
app.command("config")(run.config)
app.command("status")(status.status)


def _version(wanted: bool) -> None:
    """Print the version and end, where `--version` says so."""
    if wanted:
        print(f"mosaic-fl {release()}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version and end")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="show the traceback of an error")] = False,
) -> None:
    """One global model from private data at many sites and models of any architecture."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code: 0 success, 1 a fault, 2 a wrong input, 3 it waits for answers."""
    words = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in words
    if sys.stdout is None:  # closed by the parent process
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal without α shows ?, and the run goes on
        sys.stdout.reconfigure(errors="replace")
    words = words or ["--help"]
    # --debug may stand anywhere, so that a user can append it to a command that has failed.
    words = (["--debug"] if debug else []) + [word for word in words if word != "--debug"]
    try:
        try:
            code = _run(words, debug)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # the reader of stdout has ended, as in `mosaic predict … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes stdout again at its exit
        sys.exit(0)
    sys.exit(code)


def _run(words: list[str], debug: bool) -> int:
    """Run the command `words`; returns its exit code. With `debug`, errors are raised instead of printed."""
    try:
        with print_notes():
            code = app(words, prog_name="mosaic", standalone_mode=False)
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except ClickException as error:
        return _end(usage_line(error), 2)
    except (KeyboardInterrupt, typer.Abort):
        way = AGAIN if "withdraw" in words[:2] else RESUME if words[-1:] and set(words) & RESUMABLE else ""
        code = _end(f"interrupted{way}", 1)
        _abandon(code)
        return code
    except BrokenPipeError:
        raise
    except SystemExit as error:  # Typer's answer to a broken pipe
        if isinstance(error.__context__, BrokenPipeError):
            raise error.__context__ from None
        raise
    except MosaicError as error:
        if debug:
            raise
        return _end(str(error), error.exit_code)
    except Exception as error:
        if debug:
            raise
        return _end(f"{type(error).__name__}: {error} (--debug shows where)", 1)


def _abandon(code: int) -> None:
    """End the process at once if other libraries (Flower, Ray) have left threads.

    Python would wait for them for ever.
    """
    current = threading.current_thread()
    if any(thread is not current and not thread.daemon for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _end(line: str, code: int) -> int:
    """Print `line` on stderr without control characters, which a file or a peer may have put into it."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in " ".join(line.split()))
    print(f"mosaic: {printable}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
