"""What a process of ours sets for itself as a whole."""

import ctypes
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

# What a batch of the Maker is made of is tens of megabytes, dropped as a whole. glibc gives it back
# to the system at once and takes it again for the next batch, page by page; told to keep so much,
# it does not. See `keep_memory`.
KEPT_BYTES: Final = 128 << 20
# mallopt(3): of <malloc.h>. A single block up to so large, glibc's own maximum, is kept as well.
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_BLOCK_BYTES: Final = 32 << 20


def keep_memory() -> None:
    """Keep freed memory for the next batch, up to KEPT_BYTES; only a glibc can be told."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return  # another C library
    mallopt(_TRIM_THRESHOLD, KEPT_BYTES)
    mallopt(_MMAP_THRESHOLD, _BLOCK_BYTES)


def tune_process() -> None:
    """Set garbage collector and threads for what runs for long and moves much.

    Call it once, when everything is imported and started. Only where the process is ours: an
    application that embeds Notify decides for itself.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
