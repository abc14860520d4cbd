"""The templates of a page, and the drawings that they may use."""

from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from mosaic_fl.report import figures
from mosaic_fl.report.page import charts, maps, plots, story, words

PLACE = files("mosaic_fl.report.page")


class _Drawn:
    """The functions of a module of drawings, whose SVG a template takes as it is: every name in it is escaped."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(self._module, name)

        def draw(*values: Any) -> Any:
            result = function(*values)
            return Markup(result) if isinstance(result, str) else result  # noqa: S704

        return draw


def rendered(template: str, **values: Any) -> str:
    """A template of this package with `values`, of which none is taken for HTML but drawings."""
    tools = {"f": figures, "w": words, "s": story, "c": _Drawn(charts), "m": _Drawn(maps), "p": _Drawn(plots)}
    text: str = _template(template).render(**tools, **values)
    return text


@cache
def _template(name: str) -> Any:
    """A template, compiled once."""
    from jinja2 import Environment, FunctionLoader

    loader = FunctionLoader(lambda file: (PLACE / file).read_text("utf-8"))
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, loader=loader)
    return environment.get_template(name)
