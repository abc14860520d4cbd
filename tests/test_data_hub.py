"""Data sets of the hub, without a network."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from image_files import folder, grey, png, read, write
from mosaic_fl.data.hub import rows_of_splits
from mosaic_fl.errors import UsageError


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave nothing in the user's cache."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


class TestHub:
    def test_no_network_is_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import huggingface_hub

        def unreachable(*_: Any, **__: Any) -> None:
            raise OSError("Name or service not known\nand more")

        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", unreachable)
        with pytest.raises(UsageError, match=r"hub does not answer.*not known.*HF_HUB_OFFLINE=1") as caught:
            read("org/name")
        assert "\n" not in str(caught.value)

    def test_splits_keep_their_names_and_validation_serves_as_test(self) -> None:
        import datasets

        features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=["cat", "dog"]))
        pictures = [Image.fromarray(grey(value)) for value in (1, 2)]
        split = datasets.Dataset.from_dict({"image": pictures, "label": [1, 0]}, features=features)
        train, test = rows_of_splits({"train": split, "validation": split}, "hub:x")
        assert (train.names, train.labels.tolist()) == (("cat", "dog"), [1, 0])
        assert test is not None
        assert rows_of_splits({"train": split}, "hub:x")[1] is None
        with pytest.raises(UsageError, match="hub:x has no split called train; it has test"):
            rows_of_splits({"test": split}, "hub:x")

    def test_what_datasets_loads_is_read(self, tmp_path: Path) -> None:
        # `datasets` takes a folder for a repository, which is how this can be tried without a network.
        (tmp_path / "repository").mkdir()
        write(tmp_path / "repository" / "train.parquet", [0, 1, 1], names=["cat", "dog"])
        write(tmp_path / "repository" / "test.parquet", [1], names=["cat", "dog"])
        splits = read(f"hub:{tmp_path / 'repository'}")
        assert splits.train.schema.classes == ("cat", "dog")
        assert splits.train.labels.tolist() == [0, 1, 1]
        assert splits.train.images[:, 0, 0, 0].tolist() == [0, 1, 2]
        assert splits.test.labels.tolist() == [1]

    def test_an_image_folder_is_read(self, tmp_path: Path) -> None:
        folder(tmp_path / "repository" / "train", cat=1, dog=2)
        folder(tmp_path / "repository" / "test", cat=1, dog=1)
        splits = read(f"hub:{tmp_path / 'repository'}")
        assert splits.train.class_counts().tolist() == [1, 2]

    def test_a_table_opens_no_file_of_this_machine(self, tmp_path: Path) -> None:
        """A path in it is somebody else's word."""
        (tmp_path / "private.png").write_bytes(png(grey(5)))
        cells = [{"bytes": None, "path": str(tmp_path / "private.png")}] * 2
        table = pa.table({"image": pa.array(cells, pa.struct({"bytes": pa.binary(), "path": pa.string()}))})
        (tmp_path / "repository").mkdir()
        for part in ("train", "test"):
            pq.write_table(table.append_column("label", pa.array([0, 1])), tmp_path / "repository" / f"{part}.parquet")
        with pytest.raises(UsageError, match="row 0 of hub:.* has no image"):
            read(f"hub:{tmp_path / 'repository'}")

    def test_only_formats_that_cannot_unpickle(self, tmp_path: Path) -> None:
        (tmp_path / "train.csv").write_text("image,label\nx.png,1\n")
        with pytest.raises(UsageError, match="is stored as csv: only parquet, arrow, imagefolder are read"):
            read(f"hub:{tmp_path}")
