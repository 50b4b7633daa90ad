"""Builds the compiled core; everything else is in pyproject.toml.

NOTIFY_PURE=1         build no extension at all
NOTIFY_REQUIRE_EXT=1  a compile that fails is a build that fails (CI, wheels)
Without either, a machine without a compiler gets the pure twins.
"""

import os
from pathlib import Path

from setuptools import Extension, setup

CORES = os.cpu_count() or 1
DIRECTIVES = {
    "language_level": "3",
    "binding": True,
    "auto_pickle": False,
    "autotestdict": False,
    "embedsignature": False,
    "annotation_typing": False,
}

# -O2, which a Python may bring, makes twice the instructions of a scan. Without what a debugger
# wants to know, what is built has a fifth of the size. Others bring nothing: EXPERIMENTS_CORE.md.
FLAGS = ["-O3", "-g0"]


def sources() -> list[Path]:
    """notify_core/*.pyx, and each module of notify that has its types in a .pxd beside it."""
    typed = (path.with_suffix(".py") for path in Path("notify").rglob("*.pxd"))
    return sorted([*Path("notify_core").glob("*.pyx"), *typed])


def extensions() -> list[Extension]:
    """One extension for each of the sources."""
    if os.environ.get("NOTIFY_PURE") == "1":
        return []
    from Cython.Build import cythonize

    modules = cythonize(
        [
            Extension(".".join(path.with_suffix("").parts), [str(path)], extra_compile_args=FLAGS)
            for path in sources()
        ],
        build_dir="build/cython",
        nthreads=CORES,
        compiler_directives=DIRECTIVES,
    )
    for module in modules:  # cythonize() drops Extension(optional=True)
        module.optional = os.environ.get("NOTIFY_REQUIRE_EXT") != "1"
    return modules


setup(ext_modules=extensions(), options={"build_ext": {"parallel": CORES}})
