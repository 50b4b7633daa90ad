"""The program that is counted: `program.py TWIN CALLS` does every job so many times.

Each job's calls stand between two marks. A mark is a call of the C library that nothing else here
makes, so that callgrind can be told to write down at it what it has counted since the last one.
"""

import gc
import os
import sys

from tests.instructions.jobs import JOBS

MARK = "getpriority"
ROWS = 100
# What is looked up or grown once is behind it then, and the interpreter has specialised its code.
WARM_UPS = 2


def mark() -> None:
    """Have callgrind begin anew."""
    os.getpriority(os.PRIO_PROCESS, 0)


def main(twin: str, calls: int) -> None:
    """Do all jobs."""
    gc.disable()
    for job in JOBS:
        call = job.make(twin, ROWS)
        for _ in range(WARM_UPS):
            call()
        mark()
        for _ in range(calls):
            call()
        mark()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
