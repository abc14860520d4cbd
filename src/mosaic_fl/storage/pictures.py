"""Which files are pictures, told by their names alone."""

from pathlib import Path

IMAGE_SUFFIXES = {
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pbm", ".pgm", ".pnm", ".ppm",
}  # fmt: skip


def image_files(folder: Path) -> list[Path]:
    """All image files in `folder` and below that are not hidden, sorted by path."""
    images = [file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()]
    return sorted(file for file in images if not any(part.startswith(".") for part in file.relative_to(folder).parts))
