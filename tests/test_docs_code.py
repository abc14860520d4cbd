"""Every block of Python in the documents compiles and takes of mosaic_fl what is there; every block of TOML is TOML."""

import ast
import importlib
import inspect
import tomllib
from pathlib import Path

import pytest

import mosaic_fl
from documents import PAGES, blocks, name


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_blocks_use_what_is_there(page: Path) -> None:
    for code in blocks(page.read_text(), "python"):
        check(code, name(page))


def check(code: str, place: str) -> None:
    """Code of `place` compiles and takes of mosaic_fl what is there."""
    tree = ast.parse(code, place)
    modules = {"mosaic", "mosaic_fl"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mosaic_fl"):
            module = importlib.import_module(node.module or "")
            assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            assert _is_there(node.attr), ast.unparse(node)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
            owner = node.value.value
            if isinstance(owner, ast.Name) and owner.id in modules:
                assert hasattr(getattr(mosaic_fl, node.value.attr), node.attr), ast.unparse(node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            if isinstance(owner, ast.Name) and owner.id in modules:
                _check_keywords(node)


def _is_there(attribute: str) -> bool:
    """Whether mosaic_fl has this name, or a module of it."""
    return hasattr(mosaic_fl, attribute) or importlib.util.find_spec(f"mosaic_fl.{attribute}") is not None


def _check_keywords(call: ast.Call) -> None:
    """Each keyword of a call of mosaic_fl is one of the function's, unless it takes any."""
    assert isinstance(call.func, ast.Attribute)
    parameters = inspect.signature(getattr(mosaic_fl, call.func.attr)).parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        words = {keyword.arg for keyword in call.keywords if keyword.arg}
        assert words <= {parameter.name for parameter in parameters}, ast.unparse(call)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_toml_blocks_are_toml(page: Path) -> None:
    for code in blocks(page.read_text(), "toml"):
        tomllib.loads(code)
