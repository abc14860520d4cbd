"""What is done to a contribution's bytes before they leave: they are signed, then encrypted for their readers."""

from dataclasses import dataclass

from mosaic_fl.storage.encryption import encrypt
from mosaic_fl.storage.keys import PrivateKey, PublicKey
from mosaic_fl.storage.signature import attach


@dataclass(frozen=True)
class Seal:
    """Who reads what leaves: the owners of `readers`, everybody where there are none; and who signs it, for `run`."""

    readers: tuple[PublicKey, ...] = ()
    signer: PrivateKey | None = None
    run: str = ""

    def close(self, content: bytes, client: int) -> bytes:
        """The bytes that leave instead of those of a contribution of `client`."""
        content = content if self.signer is None else attach(content, self.signer, client, self.run)
        return encrypt(content, self.readers) if self.readers else content

    @property
    def words(self) -> str:
        """What it does, for a line of output; empty where it does nothing."""
        count = len(self.readers)
        signed = f" · signed by {self.signer.public.fingerprint} for {self.run!r}" if self.signer else ""
        return signed + (f" · encrypted for {count} key{'s' * (count > 1)}" if self.readers else "")
