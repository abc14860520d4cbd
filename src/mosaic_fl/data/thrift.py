"""A reader of structs in Thrift's compact protocol, the form of the headers and the summary of a Parquet file.

It returns chosen fields and skips the others. It reads data as pyarrow does, and refuses ambiguous data.
"""

from collections.abc import Mapping
from typing import Any

I32 = 5
I64 = 6
STRUCT = 12
Shape = int | list[Any] | Mapping[int, Any]
"""A kind of number; a list, whose one element is the shape of its structs; or a struct, as shapes by chosen field."""

_BOOLEANS = (1, 2)  # a field of this kind has no bytes
_BYTE = 3
_INTEGERS = (4, I32, I64)
_DOUBLE = 7
_BINARY = 8
_LIST = 9
_LISTS = (_LIST, 10)  # or a set
_MAP = 11

DEPTH = 16  # of values in values
FIELDS = 2**15  # readers take greater numbers for other fields
CONTAINED = 2**20  # values in one list, as pyarrow reads; and structs in all


class TooShortError(ValueError):
    """The data end before the struct does."""


class ThriftReader:
    """Reads one struct from the beginning of `data`; `place` is its end. It skips at most `values` values.

    Raises ValueError with words for what is wrong; TooShortError where the data end too early.
    """

    def __init__(self, data: bytes, values: int) -> None:
        self.data = data
        self.place = 0
        self._values = values
        self._structs = 0

    def struct(self, shape: Mapping[int, Any], depth: int = 0) -> dict[int, Any]:
        """Those fields of `shape` that the struct has."""
        self._structs += 1
        if self._structs > CONTAINED:
            raise ValueError("too many parts")
        fields = dict[int, Any]()
        numbers = set[int]()
        field = 0
        while first := self._byte():
            kind = first & 15
            step = first >> 4
            field = field + step if step else self._number()
            if not 0 < field < FIELDS or field in numbers:
                raise ValueError("a strange field")
            numbers.add(field)
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
        """Skip a value."""
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
        """The kind of a list's values, and their number."""
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
        """An unsigned number, 7 bits a byte."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("too long a number")

    def _number(self) -> int:
        """A signed number, in Thrift's zigzag coding."""
        value = self._varint()
        return (value >> 1) ^ -(value & 1)


def _kind_of(shape: Shape) -> int:
    return shape if isinstance(shape, int) else _LIST if isinstance(shape, list) else STRUCT
