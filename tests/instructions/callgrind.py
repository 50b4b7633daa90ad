"""Counts instructions of the jobs, under valgrind's callgrind.

Time differs from run to run, instructions do not: two runs of one build count the same.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.instructions import program
from tests.instructions.jobs import COMPILED, JOBS, PURE

CALLS: Final = {COMPILED: 10, PURE: 1}
TIMEOUT_S: Final = 140
# Objects of ours, by the directory they are in.
_OURS: Final = "/notify_core/"
# Hashing is done by code that OpenSSL chooses by the processor's features, the same for both twins.
_NOT_COUNTED: Final = "libcrypto"
_NAME: Final = re.compile(r"\((\d+)\)(?: (.*))?")


@dataclass
class Count:
    """What one item of a job costs.

    own: instructions inside of the compiled core. calls: calls from it into the interpreter and
    the C library, where memory and objects are made. whole: instructions of all code but hashing.
    """

    own: float
    calls: float
    whole: float


@dataclass
class _Dump:
    """What callgrind wrote down between two marks, by object."""

    instructions: Counter[str] = field(default_factory=Counter)
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)


def count(twin: str) -> dict[str, Count]:
    """The counts of all jobs by name."""
    calls = CALLS[twin]
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "out"
        _run(out, twin, calls)
        # The first dump ends at the first mark; then each job's is followed by the next one's
        # preparation.
        return {
            job.name: _counted(_read(out.with_suffix(f".{2 * number + 2}")), calls * program.ROWS)
            for number, job in enumerate(JOBS)
        }


def _run(out: Path, twin: str, calls: int) -> None:
    command = [
        "valgrind", "--quiet", "--tool=callgrind", f"--dump-before={program.MARK}",
        f"--callgrind-out-file={out}", sys.executable, program.__file__, twin, str(calls),
    ]  # fmt: skip
    # The order of sets and dicts decides what is compared with what.
    paths = [*sys.path, str(Path(__file__).parents[2])]
    environment = os.environ | {"PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S
    )
    if done.returncode:
        raise RuntimeError(f"the jobs failed under valgrind: {done.stderr[-2000:]}")


def _counted(dump: _Dump, items: int) -> Count:
    outside = sum(
        number for (by, of), number in dump.calls.items() if _OURS in by and _OURS not in of
    )
    return Count(
        own=sum(n for name, n in dump.instructions.items() if _OURS in name) / items,
        calls=outside / items,
        whole=sum(n for name, n in dump.instructions.items() if _NOT_COUNTED not in name) / items,
    )


def _read(path: Path) -> _Dump:
    # The format: valgrind manual, "Callgrind Format Specification".
    dump, names = _Dump(), dict[str, str]()
    this = called = ""
    lines: Iterator[str] = iter(path.read_text().splitlines())
    for line in lines:
        key, _, value = line.partition("=")
        if key == "ob":
            this = called = _named(value, names)
        elif key == "cob":
            called = _named(value, names)
        elif key == "calls":
            dump.calls[this, called] += int(value.split()[0])
            called = this
            next(lines)  # what the call cost: its own lines say it, too
        elif line[:1].isdigit() or line[:1] in {"+", "-", "*"}:
            dump.instructions[this] += int(line.split()[1])
    return dump


def _named(value: str, names: dict[str, str]) -> str:
    # `(7) name` the first time, then `(7)`.
    match = _NAME.fullmatch(value)
    if match is None:
        return value
    number, name = match.groups()
    return names.setdefault(number, name) if name else names[number]
