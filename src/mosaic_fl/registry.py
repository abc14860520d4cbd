"""Registries: what can be named in settings, built in or from a package of somebody else.

A package adds to a registry by an entry point in its own pyproject.toml, whose name is what users write:

    [project.entry-points."mosaic_fl.generators"]
    copula = "their_package.copula:FAMILY"

Nothing is imported before its name is asked for. A name that was received asks for `received`, which imports nothing:
it gives what is built in, or what the user of this machine has named before.
"""

import importlib
from collections.abc import Iterator, Mapping, MutableMapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from mosaic_fl.errors import UsageError, unknown

Entry = TypeVar("Entry")


class Registry(MutableMapping[str, Entry], Generic[Entry]):
    """Entries by name, imported when first asked for."""

    def __init__(self, what: str, group: str, built_in: Mapping[str, str], way: str = "") -> None:
        """`what` the entries are in words, the `group` of entry points, and the import paths of those built in.

        `way` says, for an error, how the user of a machine names the entry `{name}` of another package.
        """
        self.what = what
        self.group = group
        self.way = way
        self._built_in = dict(built_in)
        self._loaded: dict[str, Entry] = {}

    def __iter__(self) -> Iterator[str]:
        """The names: those built in, in their order, then those of other packages and of this process."""
        return iter(dict.fromkeys([*self._built_in, *self._foreign(), *self._loaded]))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in self._built_in or name in self._loaded or name in self._foreign()

    @property
    def named(self) -> list[str]:
        """The names that a received one may mean: what is built in, and what the user of this machine has named."""
        return [*self._built_in, *self._loaded]

    def get(self, name: str, default: Any = None) -> Any:
        """The entry, or `default` where there is none of that name."""
        if name not in self:
            return default
        return self[name]

    def __getitem__(self, name: str) -> Entry:
        """The entry that the user of this machine names; raises UsageError for a name that there is none of."""
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def received(self, name: str) -> Entry:
        """The entry that a received name means; raises UsageError where that is neither built in nor named here."""
        if name in self.named:
            return self[name]
        if name in self._foreign():
            way = f": {self.way.format(name=name)}" if self.way else ""
            raise UsageError(f"{self.what} {name!r} is of another package, and nobody has named it here{way}")
        raise unknown(self.what, name, self.named)

    def __setitem__(self, name: str, entry: Entry) -> None:
        """Add an entry for this process, or put another one in its place."""
        self._loaded[name] = entry

    def __delitem__(self, name: str) -> None:
        """Take an entry of this process away; one that is built in, or of a package, is there again."""
        del self._loaded[name]

    def _load(self, name: str) -> Entry:
        if name in self._built_in:
            module, _, attribute = self._built_in[name].partition(":")
            entry: Entry = getattr(importlib.import_module(module), attribute)
            return entry
        foreign = self._foreign()
        if name not in foreign:
            raise unknown(self.what, name, self)
        try:
            loaded: Entry = foreign[name].load()
        except Exception as error:  # somebody else's package may raise anything
            where = foreign[name].value
            raise UsageError(f"{self.what} {name!r} of {where} cannot be imported: {error}") from error
        return loaded

    def _foreign(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.group) if point.name not in self._built_in}
