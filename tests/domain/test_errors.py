"""The tree of errors is the one that its module draws."""

import inspect
import re

from notify.domain import errors
from notify.domain.errors import Busy, ConfigError, NotifyError, TransportError


def drawn_tree() -> dict[str, str | None]:
    """Each class of the drawing with its parent."""
    parents: dict[str, str | None] = {}
    path: list[str] = []
    for line in inspect.getdoc(errors).splitlines():  # type: ignore[union-attr]
        match = re.match(r"([│├└─ ]*)([A-Z]\w+)(\s{2,}|$)", line)
        if match:
            depth = len(match[1]) // 4
            del path[depth:]
            parents[match[2]] = path[-1] if path else None
            path.append(match[2])
    return parents


def test_the_drawn_tree_is_the_tree_of_classes() -> None:
    classes = {
        name: kind.__base__.__name__ if kind is not NotifyError else None
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if kind.__module__ == errors.__name__
    }
    assert drawn_tree() == classes
    assert len(classes) > 10


def test_errors_carry_what_happens_next() -> None:
    assert Busy("full", 7).retry_after_s == 7
    assert TransportError("dns", "no such host").stage in TransportError.STAGES
    assert str(ConfigError(["first", "second"])) == "first\nsecond"
    assert ConfigError(["first", "second"]).problems == ["first", "second"]
