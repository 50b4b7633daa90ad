"""What memory costs a fan-out: `python -m bench.experiments.core_memory [--keep]`.

CPU of the best round and page faults of a fan-out to 5. --keep: as in a Maker's process.
"""

import gc
import resource
import sys
import time

from notify.runtime.process import keep_memory
from tests.instructions.jobs import COMPILED, FLOWS

BATCHES = (100, 500, 1000, 2000)
MESSAGES = 40_000
ROUNDS = 5
[FAN_OUT] = [job for job in FLOWS if job.name.startswith("fan-out")]


def main() -> None:
    """Batch by batch."""
    if "--keep" in sys.argv:
        keep_memory()
    gc.disable()
    for rows in BATCHES:
        call, calls, best = FAN_OUT.make(COMPILED, rows), MESSAGES // rows, float("inf")
        call()
        for _ in range(ROUNDS):
            faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            begun = time.process_time()
            for _ in range(calls):
                call()
            best = min(best, time.process_time() - begun)
            faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
        print(
            f"{rows:5} {1e6 * best / MESSAGES:6.2f} us a message, {faults // calls} faults a call"
        )


if __name__ == "__main__":
    main()
