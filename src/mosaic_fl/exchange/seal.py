"""What is done to a contribution's bytes before they leave: they are encrypted for their readers."""

from dataclasses import dataclass

from mosaic_fl.storage.encryption import encrypt
from mosaic_fl.storage.keys import PublicKey


@dataclass(frozen=True)
class Seal:
    """Who reads what leaves: the owners of `readers`; everybody where there are none."""

    readers: tuple[PublicKey, ...] = ()

    def close(self, content: bytes) -> bytes:
        """The bytes that leave instead of those of a contribution."""
        return encrypt(content, self.readers) if self.readers else content

    @property
    def words(self) -> str:
        """What it does, for a line of output; empty where it does nothing."""
        count = len(self.readers)
        return f" · encrypted for {count} key{'s' * (count > 1)}" if self.readers else ""
