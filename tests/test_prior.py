from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mosaic_fl.domains.image.prior import check_prior, cutmix, folder, hybrids, prior_images
from mosaic_fl.domains.image.prior.photographs import crops, photograph, shares
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import Note
from mosaic_fl.numerics.randomness import Stream

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32)]
MADE = ["photos", "procedural"]


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def user_images(tmp_path: Path) -> Path:
    """Noise in colour and grey, of many sizes, one larger than a schema may be, one in a sub-folder."""
    rng = np.random.default_rng(0)
    for name, size in {"a.png": (40, 60, 3), "b.jpg": (200, 90, 3), "c.png": (30, 30), "deep/d.png": (9, 5)}.items():
        save(tmp_path / name, rng.integers(0, 256, size, np.uint8))
    save(tmp_path / "large.png", rng.integers(0, 256, (20, 1100, 3), np.uint8))
    (tmp_path / "readme.txt").write_text("not an image")
    return tmp_path


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("shape", [*SHAPES, (1, 1, 1), (2, 12, 20), (5, 33, 7)])
def test_as_many_pictures_as_asked_for_in_the_schema_of_the_data(kind: str, shape: tuple[int, int, int]) -> None:
    for n in (0, 1, 7):
        images = prior_images(kind, n, shape, Stream(0, "prior"))
        assert images.shape == (n, *shape)
        assert images.dtype == torch.uint8


@pytest.mark.parametrize("kind", MADE)
def test_the_stream_alone_decides(kind: str) -> None:
    first, again, other = (prior_images(kind, 40, (1, 8, 8), Stream(seed, "prior")) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    with Stream(5, "elsewhere").ambient():
        assert torch.equal(first, prior_images(kind, 40, (1, 8, 8), Stream(0, "prior")))


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("shape", SHAPES)
def test_pictures_are_not_alike(kind: str, shape: tuple[int, int, int]) -> None:
    images = prior_images(kind, 300, shape, Stream(0, "prior")).float()
    assert images.std(0).min() > 45  # of any pixel over the set; uniform noise has 74
    assert images.flatten(1).std(1).median() > 25  # within a picture: few are flat
    brightness = images.mean((1, 2, 3))
    assert brightness.quantile(0.1) < 70
    assert brightness.quantile(0.9) > 170
    assert len(images.flatten(1).unique(dim=0)) >= 297


def test_colours_are_in_every_channel() -> None:
    images = prior_images("photos", 300, (3, 16, 16), Stream(0, "prior")).float()
    means = images.mean((0, 2, 3))
    assert means.max() - means.min() < 15  # permuted: no channel is the sky's
    assert (images[:, 0] - images[:, 1]).abs().mean() > 10


def test_no_prior_is_no_picture() -> None:
    assert prior_images("none", 100, (3, 32, 32), Stream(0, "prior")).shape == (0, 3, 32, 32)


def test_a_folder_of_images_of_many_sizes(user_images: Path) -> None:
    check_prior(str(user_images))
    for shape in SHAPES:
        images = prior_images(str(user_images), 60, shape, Stream(0, "prior"))
        assert images.shape == (60, *shape)
        assert len(images.flatten(1).unique(dim=0)) > 50
    one = prior_images(str(user_images), 1, (1, 8, 8), Stream(0, "prior"))
    assert torch.equal(one, prior_images(str(user_images), 1, (1, 8, 8), Stream(0, "prior")))


def test_a_kind_that_is_not_known(tmp_path: Path) -> None:
    for kind in (*MADE, "none"):
        check_prior(kind)
    with pytest.raises(UsageError, match="unknown kind of prior images '~no.such.user/x'"):
        check_prior("~no.such.user/x")
    with pytest.raises(UsageError, match="File name too long"):
        check_prior("x" * 5000)
    with pytest.raises(UsageError, match=r"'foto'.*photos.*folder"):
        check_prior("foto")
    with pytest.raises(UsageError, match="procedural"):
        prior_images("", 1, (1, 8, 8), Stream(0, "prior"))
    with pytest.raises(UsageError, match="has no images"):
        check_prior(str(tmp_path))
    (tmp_path / "a.png").write_bytes(b"broken")
    with pytest.raises(UsageError, match=r"a\.png"):
        check_prior(str(tmp_path))
    with pytest.raises(UsageError, match="is a file: give the folder"):
        check_prior(str(tmp_path / "a.png"))


def flat(root: Path, broken: tuple[int, ...] = (), count: int = 6) -> Path:
    """Pictures of one colour each, 10 · (1 + number), some of which cannot be read."""
    for i in range(count):
        save(root / f"{i}.png", np.full((30, 30, 3), 10 * (i + 1), np.uint8))
        if i in broken:
            (root / f"{i}.png").write_bytes(b"broken")
    return root


def test_pictures_that_cannot_be_read_are_left_out_and_their_crops_come_from_the_next(tmp_path: Path) -> None:
    some = flat(tmp_path, broken=(0, 2, 5))
    check_prior(str(some))  # whose first cannot be read
    for count, expected in ((1, [20]), (3, [20, 40, 50]), (5, [20, 40, 50, 20, 40])):
        with pytest.warns(Note, match=r"images? of .* left out: .*/0\.png is no image"):
            images = [round(255 * float(p[0].mean())) for p in folder.photographs(some, folder.files(some), count)]
        assert images == expected
    with pytest.warns(Note, match="3 images of .* left out: .*/[025].png is no image"):
        assert prior_images(str(some), 60, (1, 8, 8), Stream(0, "prior")).shape == (60, 1, 8, 8)


def test_a_folder_none_of_whose_pictures_can_be_read(tmp_path: Path) -> None:
    broken = flat(tmp_path, broken=(0, 1), count=2)
    with pytest.raises(UsageError, match=r"none of the 2 images of .* can be read: .*0\.png is no image"):
        check_prior(str(broken))


def test_a_crop_of_a_flat_photograph_is_flat_and_of_its_colour() -> None:
    flat = photograph(torch.tensor([10, 100, 250], dtype=torch.uint8)[:, None, None].expand(3, 50, 80))
    made = crops(flat, 20, 8, 8, torch.Generator().manual_seed(0))
    wanted = torch.tensor([10, 100, 250])[None, :, None, None].expand(20, 3, 8, 8) / 255
    torch.testing.assert_close(made, wanted)


def test_crops_reach_every_corner_of_the_photograph() -> None:
    ramp = (torch.arange(100) * 2.55).to(torch.uint8)
    steep = photograph(torch.stack([ramp[:, None].expand(100, 100), ramp.expand(100, 100), ramp.expand(100, 100)]))
    made = crops(steep, 500, 4, 4, torch.Generator().manual_seed(0))
    for channel in (0, 1):
        assert made[:, channel].min() < 0.06
        assert made[:, channel].max() > 0.94


def test_photographs_share_the_crops_evenly() -> None:
    for n, count in ((10, 3), (2, 5), (6, 2)):
        numbers = shares(n, count, torch.Generator().manual_seed(0))
        assert sum(numbers) == n
        assert max(numbers) - min(numbers) <= 1


def test_every_pixel_of_a_mixed_picture_comes_from_one_of_its_two_sources() -> None:
    images = torch.arange(20, dtype=torch.uint8)[:, None, None, None].expand(20, 3, 10, 12)  # picture i is all i
    others = torch.arange(100, 105, dtype=torch.uint8)[:, None, None, None].expand(5, 3, 10, 12)
    mixed = cutmix(images, others, 0.5, Stream(0, "mix"))
    assert torch.equal(images[:, 0, 0, 0], torch.arange(20))  # the pictures given are left alone
    changed = [i for i in range(20) if not torch.equal(mixed[i], images[i])]
    assert len(changed) == 10
    for i in changed:
        pasted = mixed[i] != i
        assert len(mixed[i][pasted].unique()) == 1
        assert int(mixed[i][pasted][0]) in range(100, 105)
        assert torch.equal(pasted[0], pasted[1])
        rows, columns = pasted[0].any(1).nonzero().flatten(), pasted[0].any(0).nonzero().flatten()
        assert int(pasted[0].sum()) == len(rows) * len(columns)  # one full rectangle
        assert len(rows) == rows[-1] - rows[0] + 1
        assert len(columns) == columns[-1] - columns[0] + 1


def test_pasted_areas_are_a_tenth_to_six_tenths() -> None:
    black, white = torch.zeros(400, 1, 40, 40, dtype=torch.uint8), torch.full((3, 1, 40, 40), 255, dtype=torch.uint8)
    area = cutmix(black, white, 1.0, Stream(0, "mix")).float().mean((1, 2, 3)) / 255
    assert 0.08 < area.min() < 0.15
    assert 0.55 < area.max() < 0.63
    assert abs(area.mean() - 0.35) < 0.03


def test_the_share_of_mixed_pictures_and_its_ends() -> None:
    images, others = torch.zeros(8, 1, 4, 4, dtype=torch.uint8), torch.ones(2, 1, 4, 4, dtype=torch.uint8)
    for share, count in ((0.0, 0), (0.25, 2), (1.0, 8)):
        assert int(cutmix(images, others, share, Stream(0, "m")).flatten(1).any(1).sum()) == count
    assert torch.equal(cutmix(images, others[:0], 1.0, Stream(0, "m")), images)
    assert cutmix(images[:0], others, 1.0, Stream(0, "m")).shape == (0, 1, 4, 4)
    assert torch.equal(cutmix(images, others, 0.5, Stream(0, "m")), cutmix(images, others, 0.5, Stream(0, "m")))
    with pytest.raises(UsageError, match=r"1\.5"):
        cutmix(images, others, 1.5, Stream(0, "m"))
    with pytest.raises(UsageError, match="cannot be mixed"):
        cutmix(images, others[:, :, :2], 0.5, Stream(0, "m"))


def test_a_hybrid_has_the_layout_of_one_and_the_detail_of_the_other() -> None:
    rng = torch.Generator().manual_seed(0)
    layout = torch.full((1, 3, 16, 16), 128, dtype=torch.uint8)
    layout[..., :8] = 64  # dark left, bright right
    pictures = torch.randint(108, 149, (50, 3, 16, 16), generator=rng).to(torch.uint8)
    made = hybrids(pictures, layout, Stream(0, "t")).float()
    assert (made[..., :8].mean((1, 2, 3)) - 64).abs().max() < 3
    assert (made[..., 8:].mean((1, 2, 3)) - 128).abs().max() < 3
    detail = made - layout
    alike = torch.cosine_similarity(detail.flatten(1), pictures.float().sub(128).flatten(1))
    assert alike.min() > 0.8
    assert torch.equal(hybrids(pictures, layout[:0], Stream(0, "t")), pictures)
    with pytest.raises(UsageError, match="do not fit"):
        hybrids(pictures, layout[..., :8], Stream(0, "t"))
