"""A Parquet file that stands for more than it may: both its readers refuse it before anything of it is unfolded."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from image_files import grey, png, write
from mosaic_fl.data import parquet
from mosaic_fl.data.inputs import read_inputs
from mosaic_fl.data.pages import Chunk, chunks, page_sizes
from mosaic_fl.data.reading import read_parquet
from mosaic_fl.errors import UsageError

LARGE = 2**20  # bytes of a picture that is nothing but zeros
READERS: list[Callable[[Path], Any]] = [read_parquet, lambda file: list(read_inputs(file).items)]


def folded(number: int, width: int = 0) -> bytes:
    """A signed number as thrift writes it, in `width` bytes if it is given."""
    rest = 2 * number
    digits = [rest & 127]
    while rest := rest >> 7:
        digits.append(rest & 127)
    digits += [0] * (width - len(digits))
    return bytes([*(digit | 128 for digit in digits[:-1]), digits[-1]])


def bomb(file: Path, rows: int = 1, **settings: Any) -> Path:
    """Pictures of zeros in a file of hardly any bytes."""
    table = pa.table({"image": pa.array([bytes(LARGE)] * rows, pa.binary()), "label": pa.array([0] * rows)})
    pq.write_table(table, file, compression="zstd", write_statistics=False, **settings)
    return file


@pytest.fixture
def _little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of such a picture is too much, and nothing may be unfolded."""
    monkeypatch.setattr(parquet, "MAX_BYTES", LARGE // 2)
    monkeypatch.setattr(parquet, "EXPANSION", 1)

    def unfold(*_: Any, **__: Any) -> None:
        raise AssertionError("unfolded")

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", unfold)
    monkeypatch.setattr(pq.ParquetFile, "read", unfold)


@pytest.mark.usefixtures("_little")
@pytest.mark.parametrize("read", READERS)
class TestBounds:
    def test_a_page_that_is_too_large(self, tmp_path: Path, read: Callable[[Path], Any]) -> None:
        file = bomb(tmp_path / "x.parquet", use_dictionary=False)
        with pytest.raises(UsageError, match=r"x\.parquet unfolds to more than 52\d,\d{3} bytes from \d{3,4}"):
            read(file)

    def test_whatever_the_summary_says(self, tmp_path: Path, read: Callable[[Path], Any]) -> None:
        file = bomb(tmp_path / "x.parquet", use_dictionary=False)
        said = pq.read_metadata(file).row_group(0).column(0).total_uncompressed_size
        content = file.read_bytes()
        start = content.rindex(folded(said))
        content = content[:start] + folded(9, len(folded(said))) + content[start + len(folded(said)) :]
        file.write_bytes(content)
        assert pq.read_metadata(file).row_group(0).column(0).total_uncompressed_size == 9
        with pytest.raises(UsageError, match="unfolds to more than"):
            read(file)

    def test_a_header_that_asks_for_more_than_there_is(
        self, tmp_path: Path, read: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(parquet, "MAX_BYTES", 4 * LARGE)
        file = bomb(tmp_path / "x.parquet", use_dictionary=False)
        content = file.read_bytes()
        chunk = next(chunks(io.BytesIO(content)))
        size = next(page_sizes(io.BytesIO(content), chunk))
        assert size > LARGE
        place = content.index(folded(size), chunk.start)
        asked = folded(2**27 - 1)  # which has as many bytes
        file.write_bytes(content[:place] + asked + content[place + len(asked) :])
        with pytest.raises(UsageError, match="unfolds to more than"):
            read(file)

    def test_a_page_without_a_header(self, tmp_path: Path, read: Callable[[Path], Any]) -> None:
        file = write(tmp_path / "x.parquet", [0, 1])
        content = bytearray(file.read_bytes())
        content[4:12] = b"\xff" * 8
        file.write_bytes(content)
        with pytest.raises(UsageError, match=r"x\.parquet is damaged: it has a page whose header has"):
            read(file)

    def test_more_rows_than_bytes_can_mean(
        self, tmp_path: Path, read: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = write(tmp_path / "x.parquet", [0, 1])
        monkeypatch.setattr(parquet, "MAX_ROWS", 1 - file.stat().st_size)
        with pytest.raises(UsageError, match=r"x\.parquet claims 2 rows in"):
            read(file)


def test_a_value_that_is_there_once_and_meant_often_is_unfolded_a_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 50 MB in all, never more than the 8 MB that such a file may mean."""
    monkeypatch.setattr(parquet, "MAX_BYTES", 8 * LARGE)
    asked = []
    iterate = pq.ParquetFile.iter_batches

    def spy(file: Any, rows: int, **settings: Any) -> Any:
        asked.append(rows)
        return iterate(file, rows, **settings)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", spy)
    file = bomb(tmp_path / "x.parquet", 50, dictionary_pagesize_limit=2 * LARGE)
    with pytest.raises(UsageError, match="unfolds to more than"):
        read_parquet(file)
    assert next(read_inputs(file).items).picture == bytes(LARGE)
    assert asked == [8, 8]


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "brotli", "lz4", "zstd"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("statistics", [False, True])
def test_what_pages_unfold_to_is_what_the_summary_of_an_honest_file_says(
    tmp_path: Path, compression: str, version: str, statistics: bool
) -> None:
    images = [png(grey(i, 30, 40)) * 30 for i in range(200)]
    file = write(tmp_path / "x.parquet", list(range(200)), images)
    table = pq.read_table(file)
    pq.write_table(
        table, file, compression=compression, data_page_version=version, data_page_size=4096, row_group_size=70,
        write_statistics=statistics, write_page_checksum=statistics,
    )  # fmt: skip
    summary = pq.read_metadata(file)
    pages = 0
    with file.open("rb") as stream:
        found = list(chunks(stream))
        for number, chunk in enumerate(found):
            said = summary.row_group(number // 3).column(number % 3)
            assert (chunk.column, chunk.size) == (number % 3, said.total_compressed_size)
            sizes = list(page_sizes(stream, chunk))
            headers = said.total_uncompressed_size - sum(sizes)
            assert 10 * len(sizes) <= headers <= (9000 if statistics else 60) * len(sizes)
            pages += len(sizes)
    assert len(found) == 9
    assert pages > 9
    assert len(read_parquet(file).pictures) == 200


# A header of one page: fields 1 (kind), 2 and 3 (sizes 5 and 0), and its end.
HEADER = b"\x15\x00\x15\x0a\x15\x00\x00"


def unfolded(header: bytes) -> list[int]:
    return list(page_sizes(io.BytesIO(header), Chunk(0, 0, max(1, len(header)))))


def test_pages_come_one_after_the_other() -> None:
    assert unfolded(HEADER) == [5]
    assert unfolded(HEADER[:-2] + b"\x04" + b"\x00" + b"\xff\xff" + HEADER) == [5, 5]  # the first is of two bytes


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b"", "has no end"),
        (HEADER[:-1], "has no end"),
        (b"\x00", "has no size"),
        (b"\x15\x00\x15\x01\x15\x00\x00", "has no size"),  # −1
        (b"\x15\x00\x15" + folded(2**31) + b"\x15\x00\x00", "has no size"),
        (b"\x15\x00\x16\x0a\x15\x00\x00", "has no size"),  # a number of 64 bits, which a reader passes over
        (b"\x15\x00\x15\x0a\x15\x00" + b"\x18" + b"\xff" * 8 + b"\x01", "has no end"),  # a long text
        (b"\x15\x00\x15" + b"\xff" * 12, "has too long a number"),
        (b"\x1c" * 50, "has too many parts"),  # structs in structs
        (b"\x19\x99" + b"\x19" * 50, "has too many parts"),  # lists in lists
        (b"\x19\xf3" + folded(2**19) + bytes(10_000), "has too many parts"),  # a list of 2²⁰ bytes
        (b"\x1b" + folded(2**30) + b"\x33" + bytes(10_000), "has too many parts"),  # a map of 2³¹
        (b"\x0e\x02", "has a value of unknown kind"),
        (b"\x05" + folded(2**16 + 2) + b"\x0a", "has a strange field"),  # which a reader takes for field 2
        (HEADER[:-1] + b"\x05\x04" + folded(9) + b"\x00", "has a strange field"),  # field 2 again
    ],
)
def test_what_is_no_header(header: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        unfolded(header)


@pytest.mark.parametrize(
    ("summary", "said"),
    [
        (b"", "a summary with no end"),
        (b"\x49\x15\x02\x00", "a summary with a strange list"),  # row groups that are numbers
        (b"\x49\xfc" + folded(2**19) + bytes(100), "a summary with no end"),
        (b"\x49\xfc" + folded(2**20) + bytes(100), "a summary with too many parts"),
        (b"\x49\x1c\x19\x1c\x3c\x56\x02\x26\x80\x01\x00\x00\x00\x00", "longer than the file"),  # 64 of 30 bytes
        (b"\x49\x1c\x19\x1c\x3c\x56\x02\x46\x01\x00\x00\x00\x00", "columns that are nowhere"),  # from byte −1 on
    ],
)
def test_what_is_no_summary(summary: bytes, said: str) -> None:
    file = b"PAR1" + summary + len(summary).to_bytes(4, "little") + b"PAR1"
    with pytest.raises(ValueError, match=said):
        list(chunks(io.BytesIO(file)))
    with pytest.raises(ValueError, match="a summary that is longer than the file"):
        list(chunks(io.BytesIO(file[:-8] + b"\xff\xff\xff\x7fPAR1")))


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"image": pa.array([None], pa.struct({f"c{k}": pa.int8() for k in range(5000)}))}, "is struct<c0: int8"),
        ({f"c{k}": pa.array([0]) for k in range(5000)}, r"no column image or img; it has c0, c1, .*\(5001 in all\)"),
    ],
    ids=["fields", "columns"],
)
def test_thousands_of_columns_are_told_in_a_short_line(
    columns: dict[str, Any], said: str, read: Callable[[Path], Any], tmp_path: Path
) -> None:
    file = tmp_path / "x.parquet"
    pq.write_table(pa.table({**columns, "label": pa.array([0])}), file)
    with pytest.raises(UsageError, match=said) as refusal:
        read(file)
    assert len(str(refusal.value)) < 600
