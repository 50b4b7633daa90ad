"""What is compiled as it stands is compiled from the sources as they stand now."""

import importlib.util
import os
from pathlib import Path

import pytest

import notify

ROOT = Path(notify.__file__).parent
TYPED = sorted(path.relative_to(ROOT).with_suffix("") for path in ROOT.rglob("*.pxd"))


@pytest.mark.parametrize("module", TYPED, ids=str)
def test_a_typed_module_is_up_to_date(module: Path) -> None:
    """A stale one would hide every change of its source: `make` builds it anew."""
    spec = importlib.util.find_spec(".".join(("notify", *module.parts)))
    assert spec is not None
    assert spec.origin is not None
    source = ROOT / module.with_suffix(".py")
    if os.environ.get("NOTIFY_PURE") == "1":
        assert Path(spec.origin) == source
        return
    if Path(spec.origin) == source:
        pytest.skip("it was not compiled")
    newest = max(source.stat().st_mtime, source.with_suffix(".pxd").stat().st_mtime)
    assert Path(spec.origin).stat().st_mtime >= newest, "run make test, or setup.py build_ext"
