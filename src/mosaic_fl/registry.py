"""Registries: names in settings and what they mean, built in or from another package.

A package adds to a registry by an entry point in its own pyproject.toml. Users write the entry point's name:

    [project.entry-points."mosaic_fl.generators"]
    copula = "their_package.copula:FAMILY"

An entry is imported when its name is first looked up. Look up a name from received bytes with `received`: it accepts
only what is built in and what the user of this machine has named, so no received name can start an import.
"""

import importlib
from collections.abc import Iterator, Mapping, MutableMapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from mosaic_fl.errors import UsageError, unknown

Entry = TypeVar("Entry")


class Registry(MutableMapping[str, Entry], Generic[Entry]):
    """Entries by name, imported when first looked up."""

    def __init__(self, kind: str, group: str, built_in: Mapping[str, str], way: str = "") -> None:
        """`kind` says in words what an entry is. `group` is that of entry points. `built_in` has import paths by name.

        `way` says, for an error, how the user of a machine names the entry `{name}` of another package.
        """
        self.kind = kind
        self.group = group
        self.way = way
        self._built_in = dict(built_in)
        self._entries: dict[str, Entry] = {}

    def __iter__(self) -> Iterator[str]:
        """The names: those built in, in their order, then those of other packages and of this process."""
        return iter(dict.fromkeys([*self._built_in, *self._foreign(), *self._entries]))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in self._built_in or name in self._entries or name in self._foreign()

    @property
    def local_names(self) -> list[str]:
        """The names that received bytes may use: those built in, and those that the user of this machine has named."""
        return [*self._built_in, *self._entries]

    def get(self, name: str, default: Any = None) -> Any:
        """The entry of that name, or `default`."""
        if name not in self:
            return default
        return self[name]

    def __getitem__(self, name: str) -> Entry:
        """The entry that the user of this machine names; raises UsageError for an unknown name."""
        if name not in self._entries:
            self._entries[name] = self._load(name)
        return self._entries[name]

    def received(self, name: str) -> Entry:
        """The entry of a name from received bytes; raises UsageError for a name that is not in `local_names`."""
        if name in self.local_names:
            return self[name]
        if name in self._foreign():
            way = f": {self.way.format(name=name)}" if self.way else ""
            raise UsageError(f"{self.kind} {name!r} is of another package, and nobody has named it here{way}")
        raise unknown(self.kind, name, self.local_names)

    def __setitem__(self, name: str, entry: Entry) -> None:
        """Add or replace an entry for this process."""
        self._entries[name] = entry

    def __delitem__(self, name: str) -> None:
        """Remove an entry of this process. An entry of that name that is built in or of a package comes back."""
        del self._entries[name]

    def _load(self, name: str) -> Entry:
        if name in self._built_in:
            module, _, attribute = self._built_in[name].partition(":")
            entry: Entry = getattr(importlib.import_module(module), attribute)
            return entry
        foreign = self._foreign()
        if name not in foreign:
            raise unknown(self.kind, name, self)
        try:
            imported: Entry = foreign[name].load()
        except Exception as error:  # somebody else's package may raise anything
            where = foreign[name].value
            raise UsageError(f"{self.kind} {name!r} of {where} cannot be imported: {error}") from error
        return imported

    def _foreign(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.group) if point.name not in self._built_in}
