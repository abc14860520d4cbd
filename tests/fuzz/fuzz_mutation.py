"""Seeded mutations of bytes, of text and of JSON values: the same `Random` gives the same mutant."""

import codecs
import json
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

LONGEST = 2**18  # bytes of a mutant: a small input
_SIZES = (1, 2, 4, 8)
_EDGES = (0, 1, -1, 2, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, -(2**63))
_NUMBERS = (
    "0", "1", "-1", "2", "3", "16", "255", "256", "1024", "1025", "65536", "2147483647", "4294967296",
    "9223372036854775808", "1e999", "-0.0", "0.5", "1e-400",
)  # fmt: skip
_WORDS = (
    "", "a", "/", "..", "~nobody/x", "~", "a\0b", "\ufeff", "\x1b[2J", "[red]x[/red]", "[/]", "$x$", "\u202e",
    "é" * 100, "x" * 300, "x." * 300, "a/" * 3000,
    "cnn:16", "timm:resnet50", "os:system", "hub:x/y", "0", "-1", "nan", "\\ud800",
)  # fmt: skip
_NUMBER = re.compile(rb"-?[0-9][0-9.eE+-]*")
_QUOTED = re.compile(rb'"[^"\n]*"')


def mutate_bytes(data: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    """One to four changes that know nothing of the format; `others` are whole inputs to splice with."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice(_BYTE_CHANGES)(data, others, rng)
    return data[:LONGEST]


def mutate_text(data: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    """One to four changes of numbers, strings, lines, nesting or encoding."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        data = rng.choice(_TEXT_CHANGES)(data, others, rng)
    return data[:LONGEST]


def mutate_json(value: Any, rng: Random) -> Any:
    """A JSON value with one to three of its parts replaced, left out, doubled or nested."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.choice((1, 1, 2, 3))):
        box = {"": value}
        holder, key = _place(box, rng)
        _change(holder, key, rng)
        value = box.get("")
    return value


def odd_value(rng: Random) -> Any:
    """A JSON value that few readers expect."""
    kind = rng.randrange(8)
    if kind == 0:
        return rng.choice((None, True, False, [], {}, [[]], {"": None}))
    if kind == 1:
        return rng.choice(_EDGES) + rng.choice((-1, 0, 0, 1))
    if kind == 2:
        return rng.choice((float("nan"), float("inf"), -0.0, 1e308, 10**400, -(10**30), 0.5))
    if kind == 3:
        return rng.choice((["a"] * 20_000, list(range(300)), {str(k): k for k in range(300)}))
    if kind == 4:
        return nested(rng.choice((2, 50, 900, 5000)), rng)
    if kind == 5:
        return [rng.choice(_EDGES) for _ in range(rng.randrange(6))]
    return rng.choice(_WORDS)


def nested(depth: int, rng: Random) -> Any:
    """A list or an object in itself, `depth` times."""
    value: Any = 1
    for _ in range(depth):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


def dumps(value: Any) -> str:
    """`value` as JSON of any depth, cut where it is no small input."""
    try:
        return json.dumps(value)[:LONGEST]
    except RecursionError:
        return "[" * 5000 + "]" * 5000


def _place(box: Any, rng: Random) -> tuple[Any, Any]:
    """A container and one of its keys, somewhere in the tree."""
    holder, key = box, ""
    while isinstance(child := holder[key], dict | list) and child and rng.random() < 0.75:
        holder, key = child, rng.choice(list(child)) if isinstance(child, dict) else rng.randrange(len(child))
    return holder, key


def _change(holder: Any, key: Any, rng: Random) -> None:
    kind, value = rng.randrange(6), holder[key]
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(value, list):
        holder[key] = value * rng.choice((0, 2, 100))
    elif kind == 2 and type(value) is int:
        holder[key] = value + rng.choice((-1, 1, 1000, 2**31))
    elif kind == 3:
        holder[key] = [value]
    else:
        holder[key] = odd_value(rng)


def _flip(data: bytes, _others: Sequence[bytes], rng: Random) -> bytes:
    mutant = bytearray(data)
    for _ in range(rng.choice((1, 2, 8, 64)) if mutant else 0):
        mutant[rng.randrange(len(mutant))] ^= 1 << rng.randrange(8)
    return bytes(mutant)


def _truncate(data: bytes, _others: Sequence[bytes], rng: Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _remove(data: bytes, _others: Sequence[bytes], rng: Random) -> bytes:
    begin, end = _slice(data, rng)
    return data[:begin] + data[end:]


def _repeat(data: bytes, _others: Sequence[bytes], rng: Random) -> bytes:
    begin, end = _slice(data, rng)
    return data[:end] + data[begin:end] * rng.choice((1, 2, 50)) + data[end:]


def _insert(data: bytes, _others: Sequence[bytes], rng: Random) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.randbytes(rng.choice((1, 2, 8, 100))) + data[place:]


def _splice(data: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    other = rng.choice(others) if others else data
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _edit_length(data: bytes, _others: Sequence[bytes], rng: Random) -> bytes:
    """Bytes that may be a size or an offset, more often near the beginning or the end."""
    size, order = rng.choice(_SIZES), rng.choice(("little", "big"))
    if len(data) < size:
        return data
    last = len(data) - size
    place = rng.choice(
        (rng.randrange(last + 1), rng.randrange(min(last, 64) + 1), last - rng.randrange(min(last, 64) + 1))
    )
    before = int.from_bytes(data[place : place + size], order)
    after = rng.choice((rng.choice(_EDGES), before + rng.choice((-8, -1, 1, 8, 256)))) % 2 ** (8 * size)
    return data[:place] + after.to_bytes(size, order) + data[place + size :]


def _zeros(data: bytes, _others: Sequence[bytes], rng: Random) -> bytes:
    begin, end = _slice(data, rng)
    return data[:begin] + bytes([rng.choice((0, 255))]) * (end - begin) + data[end:]


def _replace_number(data: bytes, _others: Sequence[bytes], rng: Random) -> bytes:
    number = rng.choice((*_NUMBERS, "9" * rng.choice((20, 400, 5000))))
    return _replace(_NUMBER, data, number.encode(), rng)


def _replace_string(data: bytes, _others: Sequence[bytes], rng: Random) -> bytes:
    word = rng.choice(_WORDS).encode()
    return _replace(_QUOTED, data, rng.choice((b'"' + word + b'"', b"'" + word + b"'", word)), rng)


def _replace(pattern: re.Pattern[bytes], data: bytes, value: bytes, rng: Random) -> bytes:
    places = list(pattern.finditer(data))
    if not places:
        return value
    place = rng.choice(places)
    return data[: place.start()] + value + data[place.end() :]


def _change_lines(data: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    lines = data.split(b"\n")
    place, kind = rng.randrange(len(lines)), rng.randrange(4)
    if kind == 0:
        del lines[place]
    elif kind == 1:
        lines *= rng.choice((1, 2, 20))
    elif kind == 2:
        rng.shuffle(lines)
    else:
        lines.insert(place, rng.choice((rng.choice(others) if others else b"").split(b"\n")))
    return b"\n".join(lines)


def _nest(data: bytes, _others: Sequence[bytes], rng: Random) -> bytes:
    depth = rng.choice((3, 40, 1000, 20_000))
    opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"{a=", b"}"), (b"a.", b"")))
    place = rng.choice([match.start() for match in re.finditer(rb"[=:\n]", data)] or [0])
    return data[: place + 1] + opening * depth + b"1" + closing * depth + data[place + 1 :]


def _encode(data: bytes, _others: Sequence[bytes], rng: Random) -> bytes:
    text = data.decode("utf-8", "replace")
    return rng.choice((codecs.BOM_UTF8 + data, *(text.encode(name) for name in ("utf-16", "utf-16-le", "utf-32"))))


def _slice(data: bytes, rng: Random) -> tuple[int, int]:
    begin = rng.randrange(len(data) + 1)
    return begin, min(len(data), begin + rng.choice((1, 4, 32, 1000)))


Change = Callable[[bytes, Sequence[bytes], Random], bytes]
_BYTE_CHANGES: tuple[Change, ...] = (
    _flip, _flip, _truncate, _remove, _repeat, _insert, _splice, _edit_length, _edit_length, _zeros
)  # fmt: skip
_TEXT_CHANGES: tuple[Change, ...] = (
    _replace_number, _replace_number, _replace_string, _replace_string, _change_lines, _nest, _encode, mutate_bytes
)  # fmt: skip
