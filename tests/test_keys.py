"""Key pairs and encrypted files: who may read them, and what of them was altered, cut off or made to do harm."""

import time
from pathlib import Path

import pyrage
import pytest

from command import fails, mosaic
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import Note
from mosaic_fl.storage.encryption import MAGIC, MAX_HEADER, MAX_READERS, decrypt, encrypt, is_encrypted
from mosaic_fl.storage.keys import PrivateKey, PublicKey, is_signature, make_key, read_key

# RFC 8032, section 7.1, test 1: the pair and the signature of the empty message; its file as ssh-keygen writes it.
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
LINE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea"
SIGNATURE = bytes.fromhex(
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
)
LOCKED = b"""-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABBG
0teHKat+a5pBzCvbFkh2AAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIIBP
2F9OpNdIRedqfCb/hXoZ/B63QETZ+3o6f34SFG1uAAAAkKeMYgBP4R6qTqLd6Z4E
PVA+nU7qRH3VcPBAW1bPSycActx+o4d61jecmbBGwyRkagU7vzkuRe0hKyHZJYGT
YYBjdQYyh7j+4ntpH0SzQAkVAa+NrdP8uI30VFkMcU+i7LN+6QwSB02k+v7A/NSi
fJC8c4qhGFF6ctWGRbi1OgnZ/o+ipuCkl9ut0VZ15qxDdQ==
-----END OPENSSH PRIVATE KEY-----
"""
# A pair with a password, made for this test alone.
CONTENT = bytes(range(256)) * 700  # 179,200 bytes: three parts of 64 KiB


@pytest.fixture
def key(tmp_path: Path) -> PrivateKey:
    make_key(tmp_path / "server.key")
    return read_key(tmp_path / "server.key")


def test_a_public_key_is_openssh_s_line(tmp_path: Path) -> None:
    assert PublicKey(PUBLIC).line == LINE
    assert PublicKey.named(LINE) == PublicKey.named(f"{LINE} north@example.org\n") == PublicKey(PUBLIC)
    (tmp_path / "north.pub").write_text(f"# of the north\n{LINE} north\n")
    assert PublicKey.named(str(tmp_path / "north.pub")) == PublicKey(PUBLIC)


def test_signatures_are_those_of_rfc_8032() -> None:
    assert is_signature(PublicKey(PUBLIC), SIGNATURE, b"")
    assert not is_signature(PublicKey(PUBLIC), SIGNATURE, b"x")
    assert not is_signature(PublicKey(PUBLIC), SIGNATURE[:-1], b"")
    assert not is_signature(PublicKey(bytes(31)), SIGNATURE, b"")


def test_a_pair_signs_and_its_file_is_of_its_user_alone(tmp_path: Path, key: PrivateKey) -> None:
    path = tmp_path / "server.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert is_signature(key.public, key.sign(b"message"), b"message")
    assert make_key(tmp_path / "other.key") != key.public
    assert "PRIVATE" not in repr(key)
    path.chmod(0o644)
    with pytest.warns(Note, match="other accounts can read the private key"):
        assert read_key(path).public == key.public


def test_the_commands_make_show_and_spare_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = mosaic("keys", "new", "a.key", cwd=tmp_path)
    assert mosaic("keys", "public", "a.key", cwd=tmp_path) == line
    assert line.startswith("ssh-ed25519 AAAA")
    before = (tmp_path / "a.key").read_bytes()
    assert "--force overwrites it" in fails(capsys, "keys", "new", tmp_path / "a.key")
    assert (tmp_path / "a.key").read_bytes() == before
    assert mosaic("keys", "new", "a.key", "--force", cwd=tmp_path) != line
    assert "is a folder" in fails(capsys, "keys", "new", tmp_path)
    assert "No such file" in fails(capsys, "keys", "public", tmp_path / "b.key")


NO_KEYS = [
    ("", "is no public key"),
    ("ssh-ed25519", "is no public key"),
    ("ssh-ed25519 AAAA", "is no public key"),
    ("ssh-ed25519 !!!!", "is no public key"),
    (LINE[:-8], "is no public key"),
    (LINE.replace("ssh-ed25519", "ssh-rsa"), "is no public key"),
    ("age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p", "is no public key"),
    (f"{LINE}\n{LINE}", "has 2 lines"),
    ("-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n", "is a private key, which stays where it is"),
]


@pytest.mark.parametrize(("text", "told"), NO_KEYS)
def test_what_is_no_public_key_is_told(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(text)
    with pytest.raises(UsageError, match=told):
        PublicKey.named(str(tmp_path / "key"))
    if text.startswith(("ssh-", "age1", "---")) and "lines" not in told:
        with pytest.raises(UsageError, match=told):
            PublicKey.named(text)


def test_what_is_no_private_key_is_told(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    form = (serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH)
    plain = serialization.NoEncryption()
    curve = ec.generate_private_key(ec.SECP384R1()).private_bytes(*form, plain)
    own = ed25519.Ed25519PrivateKey.generate()
    whole = own.private_bytes(*form, plain)
    broken = {
        "is no private key": [b"", b"\0" * 100, whole[: len(whole) // 2], b"AGE-SECRET-KEY-1QQQQ"],
        "another kind than Ed25519": [curve],
        "has a password": [LOCKED],
        "is a public key": [LINE.encode()],
        "at most 16,384 are read": [b"x" * 2**15],
    }
    path = tmp_path / "key"
    path.touch(0o600)
    for told, contents in broken.items():
        for content in contents:
            path.write_bytes(content)
            with pytest.raises(UsageError, match=told):
                read_key(path)


def test_only_its_readers_read_an_encrypted_file(tmp_path: Path, key: PrivateKey) -> None:
    second = make_key(tmp_path / "second.key")
    make_key(tmp_path / "other.key")
    data = encrypt(CONTENT, [key.public, second])
    assert is_encrypted(data)
    assert CONTENT[:64] not in data
    assert decrypt(data, key, "a") == decrypt(data, read_key(tmp_path / "second.key"), "a") == CONTENT
    assert decrypt(CONTENT, None, "a") == decrypt(CONTENT, key, "a") == CONTENT
    assert pyrage.decrypt(data, [pyrage.ssh.Identity.from_buffer(key.content)]) == CONTENT
    with pytest.raises(UsageError, match="a is encrypted: give the private key that it is for"):
        decrypt(data, None, "a")
    other = read_key(tmp_path / "other.key")
    with pytest.raises(UsageError, match=r"a is encrypted for another key than .*other.key \(SHA256:"):
        decrypt(data, other, "a")
    with pytest.raises(UsageError, match="another key"):
        decrypt(pyrage.passphrase.encrypt(b"abc", "word"), key, "a")


def test_what_was_altered_or_cut_off_is_noticed(key: PrivateKey) -> None:
    data = encrypt(CONTENT, [key.public])
    part = 2**16 + 16
    payload = len(data) - len(CONTENT) - 3 * 16  # where the first of the three parts begins
    places = (60, 150, payload, payload + part, len(data) - 1)
    altered = [bytes([*data[:n], data[n] ^ 1, *data[n + 1 :]]) for n in places]
    cut = [data[:n] for n in (len(MAGIC), *places)]
    swapped = data[:payload] + data[payload + part : payload + 2 * part] + data[payload : payload + part]
    for damaged in (*altered, *cut, data + b"x", swapped + data[payload + 2 * part :]):
        with pytest.raises(UsageError, match=r"^a is encrypted(, but damaged or incomplete| for another key)"):
            decrypt(damaged, key, "a")


def test_a_damaged_header_is_told_in_one_line(key: PrivateKey) -> None:
    """The library's own words for this one have two."""
    with pytest.raises(UsageError, match="damaged or incomplete") as told:
        decrypt(MAGIC + b"no stanza\n--- \n", key, "a")
    assert "\n" not in str(told.value)


def test_as_many_readers_as_may_be(key: PrivateKey) -> None:
    assert decrypt(encrypt(b"abc", [key.public] * MAX_READERS), key, "a") == b"abc"


HOSTILE = {
    "a line without end": MAGIC + b"-> x " + b"A" * 2**22,
    "a body without end": MAGIC + b"-> x y\n" + (b"A" * 64 + b"\n") * 2**16,
    "many readers": MAGIC + (b"-> ssh-ed25519 AAAA " + b"A" * 43 + b"\n" + b"A" * 43 + b"\n") * 2**16,
    "as many as fit": MAGIC + b"-> x y\nAAA\n" * ((MAX_HEADER - 100) // 11) + b"--- " + b"A" * 43 + b"\nA",
    "an end without end": MAGIC + b"-> x y\n\n--- " + b"A" * 2**22,
    "the end at once": MAGIC + b"\n--- \n" + b"A" * 2**22,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_header_ends_at_once(name: str, key: PrivateKey) -> None:
    begin = time.process_time()
    with pytest.raises(UsageError, match="damaged or incomplete|another key"):
        decrypt(HOSTILE[name], key, "a")
    assert time.process_time() - begin < 2
