"""Which part of a data set, train, validation or test, a file or folder is by its name."""

import re

WORDS = {
    "train": ("train", "training", "trainset"),
    "validation": ("val", "valid", "validation", "valset"),
    "test": ("test", "testing", "testset"),
}

# Words without a meaning beside one of those, as in training_set or test-images.
_FILLERS = {"data", "dataset", "files", "folder", "images", "imgs", "set", "split"}


def part_of(name: str) -> str | None:
    """The part that the name of a file or folder means, in any case: train, validation or test; else None."""
    words = set(words_of(name))
    parts = [part for part, synonyms in WORDS.items() if words & set(synonyms)]
    return parts[0] if len(parts) == 1 else None


def is_part_name(name: str) -> bool:
    """Whether a folder's name is that of a part alone: a folder called `test strip` may be a class."""
    return len(set(words_of(name)) - _FILLERS) == 1


def words_of(name: str) -> list[str]:
    """The words of a name, in lower case: `mnistTrain_2` has mnist and train."""
    return re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower())
