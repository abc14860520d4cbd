"""Which files are pictures, told by their names alone."""

IMAGE_SUFFIXES = {
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pbm", ".pgm", ".pnm", ".ppm",
}  # fmt: skip
