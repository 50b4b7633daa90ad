"""Builds a Cython prototype of an experiment, as setup.py builds the core, and imports it."""

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
BUILD = """
import sys
from Cython.Build import cythonize
from setuptools import Extension, setup
setup(name="prototype", packages=[], ext_modules=cythonize(
    [Extension("prototype", ["prototype.pyx"], extra_compile_args=["-O3"])],
    include_path=[sys.argv.pop()], compiler_directives={"language_level": "3"}, quiet=True))
"""


def compiled(source: Path) -> ModuleType:
    """The module of a .pyx file; it may cimport from notify_core."""
    with tempfile.TemporaryDirectory() as directory:
        shutil.copy(source, Path(directory) / "prototype.pyx")
        command = [sys.executable, "-c", BUILD, "build_ext", "--inplace", str(ROOT)]
        subprocess.run(command, cwd=directory, check=True, capture_output=True)
        [built] = Path(directory).glob("prototype*.so")
        spec = importlib.util.spec_from_file_location("prototype", built)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
