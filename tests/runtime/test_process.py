"""What is set for a whole process, looked at in one of its own."""

import subprocess
import sys


def test_what_was_loaded_is_never_looked_at_again_and_cycles_still_go():
    program = """
import gc, weakref
from notify.runtime.process import GC_THRESHOLD, tune_process

class Node:
    pass

def cycle():
    node = Node()
    node.self = node
    return weakref.ref(node)

tune_process()
assert gc.get_freeze_count() > 1000
assert gc.get_threshold()[0] == GC_THRESHOLD
assert gc.isenabled()
gone = cycle()
kept = []
while gone() is not None:
    kept.append([])
    assert len(kept) <= 2 * GC_THRESHOLD
"""
    subprocess.run([sys.executable, "-c", program], timeout=30, check=True)
