"""What compiler flags and Cython directives bring the core.

python -m bench.experiments.core_flags build DIRECTORY    once a variant; goes on where it was ended
python -m bench.experiments.core_flags count DIRECTORY    instructions of every job in each of them

Counted and not timed: of two equal builds in turn, the best of five rounds lay 14 % apart.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.instructions.callgrind import Count, count
from tests.instructions.jobs import COMPILED

ROOT = Path(__file__).parents[2]
BUILD = """
import glob, json, sys
from Cython.Build import cythonize
from setuptools import Extension, setup
compile_args, link_args, directives = json.loads(sys.argv.pop())
setup(name="core", packages=[], ext_modules=cythonize(
    [Extension(path[:-4].replace("/", "."), [path], extra_compile_args=compile_args,
               extra_link_args=link_args) for path in sorted(glob.glob("notify_core/*.pyx"))],
    compiler_directives=directives, quiet=True))
"""


@dataclass(frozen=True)
class Variant:
    """What is different in one build."""

    compiled: tuple[str, ...] = ("-O3",)
    linked: tuple[str, ...] = ()
    directives: dict[str, bool | str] = field(default_factory=dict)


# Those of setup.py.
DIRECTIVES = {"language_level": "3", "binding": True, "auto_pickle": False}
# Without wraparound=False: the core counts from the end of a list in places, and dies of it.
UNCHECKED = {"boundscheck": False, "initializedcheck": False, "cdivision": True}
VARIANTS = {
    "-O3": Variant(),
    "-O2": Variant(("-O2",)),
    "-fno-semantic-interposition": Variant(("-O3", "-fno-semantic-interposition")),
    "-fvisibility=hidden": Variant(("-O3", "-fvisibility=hidden")),
    "-fno-plt": Variant(("-O3", "-fno-plt"), ("-Wl,-z,now",)),
    "-flto": Variant(("-O3", "-flto"), ("-O3", "-flto")),
    "no -g": Variant(("-O3", "-g0")),
    "x86-64-v2": Variant(("-O3", "-march=x86-64-v2")),
    "x86-64-v3": Variant(("-O3", "-march=x86-64-v3")),
    "nothing checked": Variant(directives=UNCHECKED),
}


def build(place: Path, variant: Variant) -> None:
    """The core in a directory of its own."""
    if any(place.glob("notify_core/*.so")):
        return
    unwanted = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(
        ROOT / "notify_core", place / "notify_core", ignore=unwanted, dirs_exist_ok=True
    )
    given = json.dumps([variant.compiled, variant.linked, DIRECTIVES | variant.directives])
    command = [sys.executable, "-c", BUILD, "build_ext", "--inplace", "-j2", given]
    subprocess.run(command, cwd=place, check=True, capture_output=True)


def counted(place: Path) -> dict[str, Count]:
    """The jobs' counts in the build at a place."""
    env = os.environ | {"PYTHONPATH": f"{place}:{ROOT}"}
    command = [sys.executable, "-m", "bench.experiments.core_flags", "--here"]
    done = subprocess.run(command, cwd=place, env=env, check=True, capture_output=True)
    return {job: Count(**one) for job, one in json.loads(done.stdout).items()}


def show(name: str, jobs: dict[str, Count], first: dict[str, Count]) -> None:
    """Beside the first variant: the core's own and all instructions, and the extremes of own."""
    own = sorted((jobs[job].own / first[job].own, job) for job in jobs)
    own_mean = statistics.geometric_mean(ratio for ratio, _ in own)
    mean = statistics.geometric_mean(jobs[job].whole / first[job].whole for job in jobs)
    (low, where_low), (high, where_high) = own[0], own[-1]
    print(f"{name:30} own {own_mean:.3f}, all {mean:.3f}", end="; ")
    print(f"own from {low:.2f} ({where_low}) to {high:.2f} ({where_high})", flush=True)


def main(step: str, directory: Path) -> None:
    """One step."""
    first: dict[str, Count] = {}
    for number, (name, variant) in enumerate(VARIANTS.items()):
        place = directory / str(number)
        if step == "build":
            build(place, variant)
        else:
            jobs = counted(place)
            first = first or jobs
            show(name, jobs, first)


if __name__ == "__main__":
    if sys.argv[1:] == ["--here"]:
        print(json.dumps({job: asdict(one) for job, one in count(COMPILED).items()}))
    else:
        main(sys.argv[1], Path(sys.argv[2]).resolve())
