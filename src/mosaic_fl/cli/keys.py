"""`mosaic keys`, and the options of other commands that name keys."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mosaic_fl.cli.app import App
from mosaic_fl.cli.output import results
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.seal import Seal
from mosaic_fl.exchange.signers import Signers
from mosaic_fl.storage.encryption import MAX_READERS
from mosaic_fl.storage.files import require_writable
from mosaic_fl.storage.keys import PrivateKey, PublicKey, make_key, read_key, require_packages
from mosaic_fl.storage.signature import require_run

app = App("Keys that contributions are signed by and encrypted for: docs/privacy.md.")
KeyFile = Annotated[
    Path | None, typer.Option("--key", metavar="FILE", help="private key that encrypted contributions are for")
]
EncryptFor = Annotated[
    list[str] | None,
    typer.Option(
        "--encrypt-for", metavar="KEY", help="public key or its file: only its owner reads contributions; repeatable"
    ),
]

Sign = Annotated[Path | None, typer.Option("--sign", metavar="FILE", help="private key that signs it, for --run-id")]
RunId = Annotated[str | None, typer.Option("--run-id", metavar="TEXT", help="name of the run that all agreed on")]
SignersFolder = Annotated[
    Path | None, typer.Option("--signers", metavar="FOLDER", help="clients' public keys, as 3.pub: only these count")
]


@app.command("new")
def new(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="the file of the pair, which stays here")],
    force: Annotated[bool, typer.Option("--force", help="overwrite FILE; what is for that key is lost")] = False,
) -> None:
    """Make a key pair (Ed25519, OpenSSH's form), and print its public part for others."""
    require_packages()
    if file.is_dir():
        raise UsageError(f"{file} is a folder: name a file")
    if file.exists() and not force:
        raise UsageError(f"{file} exists: what is for that key could not be read any more; --force overwrites it")
    require_writable(file)
    made = make_key(file)
    results(_told(file, made))
    print(made.line)


@app.command("public")
def public(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="the file of mosaic keys new")],
) -> None:
    """Print the public part of a key pair."""
    key = read_key(file).public
    results(_told(file, key))
    print(key.line)


def _told(file: Path, key: PublicKey) -> dict[str, Any]:
    return {"file": file, "public": key.line, "fingerprint": key.fingerprint}


def key_in(file: Path | None) -> PrivateKey | None:
    """The private key of `--key`, None without it; raises UsageError."""
    return None if file is None else read_key(file)


def readers_of(encrypt_for: list[str] | None) -> tuple[PublicKey, ...]:
    """The keys of `--encrypt-for`; raises UsageError for a text that is no public key, and for one that comes twice."""
    readers = tuple(PublicKey.named(text) for text in encrypt_for or [])
    if len(set(readers)) < len(readers):
        raise UsageError("--encrypt-for names the same key twice")
    if len(readers) > MAX_READERS:
        raise UsageError(f"--encrypt-for names {len(readers)} keys; a file has at most {MAX_READERS} readers")
    if readers:
        require_packages()
    return readers


def seal_of(encrypt_for: list[str] | None, sign: Path | None, run: str | None) -> Seal:
    """What `--encrypt-for`, `--sign` and `--run-id` say; raises UsageError."""
    if sign is not None and run is None:
        raise UsageError("--sign needs --run-id TEXT, the name of the run that server and clients agreed on")
    return Seal(readers_of(encrypt_for), key_in(sign), _run(run))


def signers_of(folder: Path | None, run: str | None) -> Signers | None:
    """What `--signers` and `--run-id` say, None without them; raises UsageError."""
    if folder is None:
        return None
    if run is None:
        raise UsageError("--signers needs --run-id TEXT, the name of the run that server and clients agreed on")
    return Signers.load(folder, _run(run))


def _run(run: str | None) -> str:
    if run is not None:
        require_run(run)
    return run or ""
