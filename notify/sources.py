"""The modules that are compiled as they stand, from their sources instead (NOTIFY_PURE=1).

Such a module, say lane.py, has its types in lane.pxd beside it. Where it was compiled, Python
prefers that; without a compiler, or with NOTIFY_PURE=1, the very same code is interpreted.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader
from types import ModuleType


class _Sources(MetaPathFinder):
    def __init__(self, package: str) -> None:
        self._prefix = package + "."

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, _: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is None or not fullname.startswith(self._prefix):
            return None
        finders = (FileFinder(place, (SourceFileLoader, SOURCE_SUFFIXES)) for place in path)
        specs = (finder.find_spec(fullname) for finder in finders)
        return next((spec for spec in specs if spec is not None), None)


def prefer_sources(package: str) -> None:
    """From now on import a package's modules from their sources, compiled or not."""
    sys.meta_path.insert(0, _Sources(package))
