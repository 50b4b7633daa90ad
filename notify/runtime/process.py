"""What a process of ours sets for itself as a whole."""

import gc
import sys
from typing import Final

# Hot paths make no reference cycles, but hold thousands of objects for a moment, which Python's
# own threshold (700) mistakes for growth. Measured on the Api with one message a request over
# 64 connections: 8 % of its time by default, 5 % with what was loaded frozen, under 1 % with
# this threshold too; 50 000 gains nothing more and makes pauses of 50 ms where there are cycles.
GC_THRESHOLD: Final = 10_000
# A thread that talks to MySQL needs the interpreter again after each answer, and waits so long for
# an event loop that is busy; several times a transaction. Measured in three turns, inserting two
# messages under a loop that is 75 % busy: medians of 3.9 to 6.6 ms, 95th percentiles of 47 ms and
# more at Python's own 5 ms, 3.2 to 4.9 and 3 to 11 ms at this. Whole flows showed no difference.
SWITCH_INTERVAL_S: Final = 0.0005


def tune_process() -> None:
    """Set garbage collector and threads for what runs for long and moves much.

    Call it once, when everything is imported and started. Only where the process is ours: an
    application that embeds Notify decides for itself.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
