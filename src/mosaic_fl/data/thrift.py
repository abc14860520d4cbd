"""Some fields of a struct in Thrift's compact protocol, as the headers and the summary of a Parquet file are written.

What is not asked for is passed over. It is read as pyarrow reads it; what could be read in two ways is refused.
"""

from collections.abc import Mapping
from typing import Any

I32 = 5
I64 = 6
STRUCT = 12
Shape = int | list[Any] | Mapping[int, Any]
"""A kind of number, a list of one shape, which is that of its structs, or a struct: a shape for each of some fields."""

_BOOLEANS = (1, 2)  # as a field it has no bytes
_BYTE = 3
_INTEGERS = (4, I32, I64)
_DOUBLE = 7
_BINARY = 8
_LIST = 9
_LISTS = (_LIST, 10)  # or a set
_MAP = 11

DEPTH = 16  # of values in values
FIELDS = 2**15  # a reader takes greater numbers for others
CONTAINED = 2**20  # values in one list, as pyarrow reads; and structs in all


class TooShortError(ValueError):
    """The data end before the struct does."""


class ThriftReader:
    """Reads one struct from the beginning of `data`; `place` is where it ends. At most `values` are passed over.

    Raises ValueError, in words for what it has, for what is none; TooShortError where it goes on.
    """

    def __init__(self, data: bytes, values: int) -> None:
        self.data = data
        self.place = 0
        self._values = values
        self._structs = 0

    def struct(self, shape: Mapping[int, Any], depth: int = 0) -> dict[int, Any]:
        """The fields of `shape` that it has."""
        self._structs += 1
        if self._structs > CONTAINED:
            raise ValueError("too many parts")
        fields = dict[int, Any]()
        earlier = set[int]()
        field = 0
        while first := self._byte():
            kind = first & 15
            step = first >> 4
            field = field + step if step else self._number()
            if not 0 < field < FIELDS or field in earlier:
                raise ValueError("a strange field")
            earlier.add(field)
            if kind in _BOOLEANS:
                continue
            if field in shape and kind == _kind_of(shape[field]):
                fields[field] = self._value(shape[field], depth + 1)
            else:
                self._skip(kind, depth + 1)
        return fields

    def _value(self, shape: Shape, depth: int) -> Any:
        if isinstance(shape, int):
            return self._number()
        if not isinstance(shape, list):
            return self.struct(shape, depth)
        kind, count = self._list()
        if count and kind != STRUCT:
            raise ValueError("a strange list")
        return [self.struct(shape[0], depth + 1) for _ in range(count)]

    def _skip(self, kind: int, depth: int) -> None:
        """Pass over a value."""
        self._values -= 1
        if depth > DEPTH or self._values < 0:
            raise ValueError("too many parts")
        if kind in _BOOLEANS or kind == _BYTE:
            self._pass(1)
        elif kind in _INTEGERS:
            self._varint()
        elif kind == _DOUBLE:
            self._pass(8)
        elif kind == _BINARY:
            self._pass(self._varint())
        elif kind == STRUCT:
            self.struct({}, depth)
        elif kind in _LISTS:
            inner, count = self._list()
            for _ in range(count):
                self._skip(inner, depth + 1)
        elif kind == _MAP:
            count = self._varint()
            inner = self._byte() if count else 0
            for _ in range(count):
                self._skip(inner >> 4, depth + 1)
                self._skip(inner & 15, depth + 1)
        else:
            raise ValueError("a value of unknown kind")

    def _list(self) -> tuple[int, int]:
        """The kind of a list's values, and how many there are."""
        first = self._byte()
        count = first >> 4 if first >> 4 < 15 else self._varint()
        if count > CONTAINED:
            raise ValueError("too many parts")
        return first & 15, count

    def _pass(self, count: int) -> None:
        self.place += count
        if self.place > len(self.data):
            raise TooShortError("no end")

    def _byte(self) -> int:
        self._pass(1)
        return self.data[self.place - 1]

    def _varint(self) -> int:
        """A number of 7 bits a byte."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("too long a number")

    def _number(self) -> int:
        """A signed one, as Thrift folds it."""
        value = self._varint()
        return (value >> 1) ^ -(value & 1)


def _kind_of(shape: Shape) -> int:
    return shape if isinstance(shape, int) else _LIST if isinstance(shape, list) else STRUCT
