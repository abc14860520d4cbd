"""Puts small apps in the place of the engine's own, in processes whose PYTHONPATH names this folder."""

import importlib.abc
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

PREFIX = "mosaic_fl.engines.flower."


class StandIn(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        if name not in (f"{PREFIX}client_app", f"{PREFIX}server_app"):
            return None
        file = Path(__file__).parent / f"stand_in_{name.removeprefix(PREFIX)}.py"
        return importlib.util.spec_from_file_location(name, file)


sys.meta_path.insert(0, StandIn())
