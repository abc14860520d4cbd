"""Signed contributions: whose word counts, and what was forged, altered, copied or signed for another run."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

import mosaic_fl
from command import QUICK, fails, mosaic
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.seal import Seal
from mosaic_fl.exchange.signers import Signers
from mosaic_fl.runs.file_check import check_files
from mosaic_fl.runs.received import read_contributions
from mosaic_fl.storage.folder_lock import vacate
from mosaic_fl.storage.header import read_header
from mosaic_fl.storage.keys import PrivateKey, PublicKey, make_key, read_key
from mosaic_fl.storage.signature import ENTRY, attach, signature_of

RUN = "wards-2026"
FEW = {"train.max_steps": 5, "train.min_steps": 5, "generator.steps": 5, "generator.width": 4}


@pytest.fixture(scope="module")
def plain(digits: Dataset) -> list[Contribution]:
    """The contributions of clients 0 and 1."""
    parts = (digits.subset(range(k, 200, 2)) for k in range(2))
    return [mosaic_fl.contribute(part, model="mlp:4", client=k, settings=FEW) for k, part in enumerate(parts)]


@pytest.fixture
def place(tmp_path: Path, plain: list[Contribution]) -> Path:
    """Keys `0.key` and `1.key`, the folder `signers` with their public parts, and `0.signed` and `1.signed`."""
    (tmp_path / "signers").mkdir()
    for k, made in enumerate(plain):
        public = make_key(tmp_path / f"{k}.key")
        (tmp_path / "signers" / f"{k}.pub").write_text(public.line + f" site {k}\n")
        seal = Seal(signer=read_key(tmp_path / f"{k}.key"), run=RUN)
        (tmp_path / f"{k}.signed").write_bytes(seal.close(made.to_bytes(), k))
    return tmp_path


def key(place: Path, client: int) -> PrivateKey:
    return read_key(place / f"{client}.key")


def read(place: Path, *names: str, run: str = RUN) -> list[Contribution]:
    return read_contributions([place / name for name in names], None, Signers.load(place / "signers", run))


def test_a_signed_file_is_the_same_contribution_to_every_reader(place: Path, plain: list[Contribution]) -> None:
    assert [c.to_bytes() for c in read(place, "0.signed", "1.signed")] == [c.to_bytes() for c in plain]
    assert Contribution.load(place / "0.signed").to_bytes() == plain[0].to_bytes()
    data = (place / "0.signed").read_bytes()
    again = attach(data, key(place, 0), 0, RUN)
    assert len(again) == len(data)  # another signature, in place of the first
    assert again != data
    assert (int.from_bytes(data[:8], "little") + 8) % 8 == 0


def altered(data: bytes, change: Callable[[dict[str, object]], object]) -> bytes:
    """The file with `change` made to its signature."""
    header = read_header(data, "a")
    entry = json.loads(header.tree["__metadata__"][ENTRY])
    change(entry)
    header.tree["__metadata__"][ENTRY] = json.dumps(entry)
    text = json.dumps(header.tree).encode()
    return len(text).to_bytes(8, "little") + text + data[header.end :]


FORGERIES: dict[str, tuple[Callable[[dict[str, object]], object], str]] = {
    "another client": (
        lambda e: e.update(client=1),
        "is signed by the key 'SHA256:.*, and that of client 1 is SHA256:",
    ),
    "a client without a key": (lambda e: e.update(client=7), "signed as client 7, whose key is not in"),
    "another run": (lambda e: e.update(run="other"), "was altered after client 0 signed it"),
    "another nonce": (lambda e: e.update(nonce="00" * 16), "was altered after client 0 signed it"),
    "no signature": (lambda e: e.update(signature="00" * 64), "was altered after client 0 signed it"),
    "a short signature": (lambda e: e.update(signature="00"), "has a signature that is none"),
    "no number": (lambda e: e.update(client=True), "has a signature that is none"),
    "a negative client": (lambda e: e.update(client=-1), "has a signature that is none"),
    "no hexadecimal": (lambda e: e.update(nonce="zz" * 16), "has a signature that is none"),
    "a long run": (lambda e: e.update(run="x" * 10**6), "has a signature that is none"),
    "nothing": (lambda e: e.clear(), "has a signature that is none"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_signature_is_refused_by_name(name: str, place: Path) -> None:
    change, told = FORGERIES[name]
    (place / "x.signed").write_bytes(altered((place / "0.signed").read_bytes(), change))
    with pytest.raises(UsageError, match=told):
        read(place, "x.signed")


def test_an_altered_content_is_refused(place: Path, plain: list[Contribution]) -> None:
    """Its bytes alone, its bytes with another hash, and a whole other file under the same signature."""
    data = bytearray((place / "0.signed").read_bytes())
    data[-1] ^= 1
    (place / "x").write_bytes(data)
    with pytest.raises(UsageError, match="its SHA-256 does not match"):
        read(place, "x")
    entry = read_header(bytes(data), "a").tree["__metadata__"][ENTRY]
    other = read_header(plain[1].to_bytes(), "b")
    other.tree["__metadata__"][ENTRY] = entry
    text = json.dumps(other.tree).encode()
    (place / "x").write_bytes(len(text).to_bytes(8, "little") + text + plain[1].to_bytes()[other.end :])
    with pytest.raises(UsageError, match="was altered after client 0 signed it"):
        read(place, "x")


def test_a_client_signs_for_itself_and_this_run_and_once(place: Path, plain: list[Contribution]) -> None:
    with pytest.raises(UsageError, match=r"0\.signed is signed for the run 'wards-2026', and this is 'wards-2027'"):
        read(place, "0.signed", run="wards-2027")
    (place / "copy").write_bytes((place / "0.signed").read_bytes())
    with pytest.raises(UsageError, match=r"copy is a copy of .*0\.signed: one signature counts once"):
        read(place, "0.signed", "copy")
    (place / "x").write_bytes(attach(plain[1].to_bytes(), key(place, 0), 0, RUN))
    with pytest.raises(UsageError, match="x is of client 1, and signed as client 0"):
        read(place, "x")
    (place / "x").write_bytes(plain[0].to_bytes())
    with pytest.raises(UsageError, match="x is not signed: its client makes it with mosaic contribute --sign"):
        read(place, "x")
    (place / "x").write_bytes(b"abc")
    with pytest.raises(UsageError, match="x: not a mosaic-fl file"):
        read(place, "x")


def test_a_damaged_copy_that_comes_first_is_no_first_one(place: Path) -> None:
    data = bytearray((place / "0.signed").read_bytes())
    data[-1] ^= 1
    (place / "damaged").write_bytes(data)
    (place / "copy").write_bytes((place / "0.signed").read_bytes())
    signers = Signers.load(place / "signers", RUN)
    with pytest.raises(UsageError, match="its SHA-256 does not match"):
        read_contributions([place / "damaged"], None, signers)
    assert [c.client for c in read_contributions([place / "0.signed"], None, signers)] == [0]
    with pytest.raises(UsageError, match=r"copy is a copy of .*0\.signed"):
        read_contributions([place / "copy"], None, signers)
    files = [place / name for name in ("damaged", "0.signed", "copy")]
    checked = check_files(files, None, Signers.load(place / "signers", RUN))
    assert [file.signed for file in checked.files] == ["wrong", "yes", "wrong"]


def test_who_signs_with_the_nonce_of_another_client_takes_nothing_from_it(
    place: Path, plain: list[Contribution], monkeypatch: pytest.MonkeyPatch
) -> None:
    signature, _ = signature_of((place / "0.signed").read_bytes(), "0.signed")
    assert signature is not None
    nonce = signature.nonce
    monkeypatch.setattr("mosaic_fl.storage.signature.secrets.token_hex", lambda _: nonce)
    (place / "x").write_bytes(attach(plain[1].to_bytes(), key(place, 1), 1, RUN))
    assert [c.client for c in read(place, "x", "0.signed")] == [1, 0]


def test_without_signers_a_note_tells_of_signatures(place: Path, plain: list[Contribution]) -> None:
    (place / "x").write_bytes(plain[1].to_bytes())
    with pytest.warns(mosaic_fl.notes.Note, match="1 of 2 contributions are signed, which nobody checks"):
        read_contributions([place / "0.signed", place / "x"])
    assert signature_of(plain[1].to_bytes(), "x")[0] is None


def test_a_folder_of_keys_is_checked_whole(place: Path) -> None:
    folder = place / "signers"
    one = (folder / "1.pub").read_text()
    (folder / ".hidden").touch()
    (folder / "0.pub").rename(folder / "client-000.pub")
    assert sorted(Signers.load(folder, RUN).keys) == [0, 1]
    for name, content, told in (
        ("001.pub", PublicKey(bytes(32)).line, "has two keys of client 1"),
        ("2.pub", one, "clients 1 and 2 have the same key"),
        ("2.pub", "abc", "2.pub is no public key"),
        ("2.pub", (place / "0.key").read_text(), "2.pub is a private key, which stays where it is"),
        ("north.pub", one, "north.pub names no client"),
        ("2.key", one, "2.key names no client"),
    ):
        (folder / name).write_text(content)
        with pytest.raises(UsageError, match=told):
            Signers.load(folder, RUN)
        (folder / name).unlink()
    (folder / "2.pub").mkdir()
    with pytest.raises(UsageError, match="it is a folder"):
        Signers.load(folder, RUN)
    (place / "empty").mkdir()
    for name, told in (("empty", "has no keys"), ("none", "No such file"), ("0.key", "Not a directory")):
        with pytest.raises(UsageError, match=told):
            Signers.load(place / name, RUN)


def test_the_commands_sign_encrypt_and_check(place: Path, digits: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    from mosaic_fl.data.export import save_parquet

    server = mosaic("keys", "new", "server.key", cwd=place).strip()
    few = [word for name, value in FEW.items() for word in ("--set", f"{name}={value}")]
    for k in range(2):
        save_parquet(digits.subset(range(k, 200, 2)), place / f"{k}.parquet")
        words = ["--data", f"{k}.parquet", "--model", "mlp:4", "--client", str(k), *few]
        seal = ["--sign", f"{k}.key", "--run-id", RUN, "--encrypt-for", server]
        told = mosaic("contribute", *words, *seal, "--out", f"{k}.age", cwd=place)
        assert f"signed by {key(place, k).public.fingerprint} for 'wards-2026' · encrypted for 1 key" in told
    base = ["--key", "server.key", "--student", "mlp:4", *QUICK]
    signers = ["--signers", "signers", "--run-id", RUN]
    err = io.StringIO()
    mosaic("distill", "0.age", "1.age", *base, *signers, "--out", "global", cwd=place, err=err)
    vacate()
    assert "nobody checks" not in err.getvalue()
    region = ["--as-contribution", "7.signed", "--client", "7", "--sign", "0.key"]
    mosaic("distill", "0.age", "1.age", *base, *signers, *region, "--out", "region", cwd=place)
    vacate()
    signature, digest = signature_of((place / "7.signed").read_bytes(), "7.signed")
    assert signature is not None
    assert signature.is_of(key(place, 0).public, digest)
    assert (signature.client, signature.run) == (7, RUN)
    (place / "signers" / "1.pub").unlink()
    files = [place / "0.age", place / "1.age", "--key", place / "server.key", "--out", place / "x"]
    line = fails(capsys, "distill", *files, "--signers", place / "signers", "--run-id", RUN)
    assert line.endswith(f"1.age is signed as client 1, whose key is not in {place / 'signers'}")
    assert not (place / "x").exists()


@pytest.mark.parametrize(
    ("command", "words", "told"),
    [
        ("contribute", ["--sign", "0.key"], "--sign needs --run-id TEXT"),
        ("contribute", ["--run-id", "a"], "--run-id is for --sign FILE"),
        ("contribute", ["--sign", "signers/0.pub", "--run-id", "a"], "is a public key"),
        ("contribute", ["--sign", "0.key", "--run-id", " "], "it is a line of 1 to 100 characters"),
        ("contribute", ["--sign", "0.key", "--run-id", "x" * 101], "it is a line of 1 to 100 characters"),
        ("distill", ["--signers", "signers"], "--signers needs --run-id TEXT"),
        ("distill", ["--run-id", "a"], "--run-id is for --signers"),
        ("distill", ["--sign", "0.key", "--run-id", "a"], "is for the file of --as-contribution"),
    ],
)
def test_options_that_do_not_fit_are_told_before_work(
    command: str,
    words: list[str],
    told: str,
    place: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(place)
    base = {
        "contribute": ["--data", "0.signed", "--model", "mlp:4", "--client", "0", "--out", "new"],
        "distill": ["0.signed", "1.signed", "--out", "new"],
    }
    assert told in fails(capsys, command, *base[command], *words)
    assert not (place / "new").exists()
