"""Builds the compiled core; everything else is in pyproject.toml.

NOTIFY_PURE=1         build no extension at all
NOTIFY_REQUIRE_EXT=1  a compile that fails is a build that fails (CI, wheels)
Without either, a machine without a compiler gets the pure twins.
"""

import os
from pathlib import Path

from setuptools import Extension, setup

DIRECTIVES = {
    "language_level": "3",
    "binding": True,
    "auto_pickle": False,
    "autotestdict": False,
    "embedsignature": False,
}


def extensions() -> list[Extension]:
    """One extension for each notify_core/*.pyx."""
    if os.environ.get("NOTIFY_PURE") == "1":
        return []
    from Cython.Build import cythonize

    modules = cythonize(
        [
            Extension(f"notify_core.{path.stem}", [str(path)], extra_compile_args=["-O3"])
            for path in sorted(Path("notify_core").glob("*.pyx"))
        ],
        build_dir="build/cython",
        compiler_directives=DIRECTIVES,
    )
    for module in modules:  # cythonize() drops Extension(optional=True)
        module.optional = os.environ.get("NOTIFY_REQUIRE_EXT") != "1"
    return modules


setup(ext_modules=extensions())
