"""The suffixes of picture files."""

IMAGE_SUFFIXES = {
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pbm", ".pgm", ".pnm", ".ppm",
}  # fmt: skip
