"""Every compiled module, its stub and its pure twin offer the same names and signatures."""

import ast
import importlib
import importlib.machinery
import inspect
import os
from pathlib import Path

import pytest

import notify_core

CORE = Path(notify_core.__file__).parent
MODULES = (
    "answer", "chunk", "fanout", "ids", "mark", "push", "receive", "request", "sign", "sqltext",
)  # fmt: skip
compiled = pytest.mark.skipif(
    os.environ.get("NOTIFY_PURE") == "1", reason="NOTIFY_PURE=1 asks for the pure twins"
)
both = pytest.mark.parametrize("name", MODULES)


def public(names):
    return {name for name in names if not name.startswith("_")}


def signature(function):
    """Names, kinds and defaults of the parameters: all that a caller can tell apart."""
    return [
        (parameter.name, parameter.kind, parameter.default)
        for parameter in inspect.signature(function).parameters.values()
    ]


def is_ours(value, module):
    """Whether a module's attribute is its own, and not something it imported."""
    if inspect.ismodule(value):
        return False
    return getattr(value, "__module__", module.__name__) == module.__name__


def offered(name):
    """What the stub says the module offers."""
    tree = ast.parse((CORE / f"{name}.pyi").read_text())
    return {item: node for node in tree.body for item in defined(node)}


def defined(node):
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return public([node.name])
    if isinstance(node, ast.AnnAssign):
        return public([node.target.id])
    if isinstance(node, ast.Assign):
        return public(
            [
                name.id
                for each in node.targets
                for name in ast.walk(each)
                if isinstance(name, ast.Name)
            ]
        )
    return set()


def members(node):
    """Methods and attributes of a class in source, __init__'s own attributes included."""
    found = {name for child in node.body for name in defined(child)}
    for child in ast.walk(node):
        if isinstance(child, ast.Attribute) and isinstance(child.ctx, ast.Store):
            found |= public([child.attr])
    return found


def parameters(node):
    """A function's parameters and its answer as source text, types and defaults included."""
    answer = ast.unparse(node.returns) if node.returns else "None"
    # A stub need not quote the names of its own classes.
    return f"({ast.unparse(node.args)}) -> {answer}".replace("'", "")


@compiled
@both
def test_the_extension_is_loaded(name):
    module = importlib.import_module(f"notify_core.{name}")
    assert module.__file__.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES))
    assert getattr(notify_core, name) is module
    assert notify_core.ACCELERATED is True


@pytest.mark.skipif(os.environ.get("NOTIFY_PURE") != "1", reason="only with NOTIFY_PURE=1")
@both
def test_the_pure_twin_stands_in(name):
    assert getattr(notify_core, name) is importlib.import_module(f"notify_core.pure.{name}")
    assert notify_core.ACCELERATED is False


@both
def test_stub_and_twin_offer_the_same(name):
    tree = ast.parse((CORE / "pure" / f"{name}.py").read_text())
    twin = {item: node for node in tree.body for item in defined(node)}
    stub = offered(name)
    assert twin.keys() == stub.keys()
    for item, node in stub.items():
        if isinstance(node, ast.FunctionDef):
            assert parameters(node) == parameters(twin[item])
        elif isinstance(node, ast.ClassDef):
            assert members(node) == members(twin[item])
            mine, theirs = (
                {child.name: child for child in each.body if isinstance(child, ast.FunctionDef)}
                for each in (node, twin[item])
            )
            for method in mine.keys() & theirs.keys():
                if not mine[method].decorator_list:
                    assert parameters(mine[method]) == parameters(theirs[method]), method


@compiled
@both
def test_extension_and_twin_offer_the_same(name):
    module = importlib.import_module(f"notify_core.{name}")
    twin = importlib.import_module(f"notify_core.pure.{name}")
    for item, node in offered(name).items():
        mine, theirs = getattr(module, item), getattr(twin, item)
        if isinstance(node, ast.FunctionDef):
            assert signature(mine) == signature(theirs)
        elif isinstance(node, ast.ClassDef):
            assert public(dir(mine)) == members(node)
            for method in public(dir(theirs)):
                if inspect.isfunction(getattr(theirs, method)):
                    assert signature(getattr(mine, method)) == signature(getattr(theirs, method))
        else:
            assert mine == theirs


@compiled
@both
def test_the_extension_offers_nothing_more(name):
    module = importlib.import_module(f"notify_core.{name}")
    own = {item for item in public(vars(module)) if is_ours(vars(module)[item], module)}
    assert {item for item in own if callable(vars(module)[item])} <= offered(name).keys()


@compiled
@both
def test_twins_share_their_docstrings(name):
    module = importlib.import_module(f"notify_core.{name}")
    twin = importlib.import_module(f"notify_core.pure.{name}")
    for item, node in offered(name).items():
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            mine, theirs = getattr(module, item), getattr(twin, item)
            assert inspect.getdoc(mine) == inspect.getdoc(theirs), item
