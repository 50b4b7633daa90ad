"""Programs of this project as processes, and what processes and cores have used."""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used, its threads included."""
    text = Path(f"/proc/{pid}/stat").read_text()
    user, system = text.rpartition(") ")[2].split()[11:13]
    return (int(user) + int(system)) / TICKS_PER_S


def family(pid: int) -> list[int]:
    """A process, its children and theirs: a server that forks works in its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in family(int(child)))]


def waited_s(pid: int) -> float:
    """Seconds for which threads of a process could have run and others had the core."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[1]) for task in tasks) / 1e9


def rss_mb(pid: int) -> float:
    """Memory that a process has in use, what it shares with others included."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def cores_s() -> dict[str, float]:
    """Seconds that each core was busy since the machine was started, whoever had it."""
    busy = {}
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name != "cpu":
            # user, nice, system, irq, softirq; guests are counted in user already
            busy[name] = sum(int(fields[n]) for n in (0, 1, 2, 5, 6)) / TICKS_PER_S
    return busy


@contextmanager
def process(
    arguments: Sequence[str], environ: Mapping[str, str]
) -> Iterator["subprocess.Popen[str]"]:
    """A program of this project, stopped at the end."""
    with subprocess.Popen(
        arguments,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ},
    ) as made:
        assert made.stdin
        try:
            yield made
        finally:
            made.stdin.close()
            made.terminate()
            made.wait()
