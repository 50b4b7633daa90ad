"""What is set for a whole process, looked at in one of its own."""

import platform
import subprocess
import sys

import pytest


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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_memory_of_a_batch_is_kept_for_the_next_one():
    program = """
import resource
from notify.runtime.process import keep_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def batch():
    before = faults()
    made = [b"x" * 65536 for _ in range(300)]
    del made
    return faults() - before

batch()
given_back = batch()
keep_memory()
batch()
kept = batch()
assert kept < given_back / 10, (kept, given_back)
"""
    subprocess.run([sys.executable, "-c", program], timeout=30, check=True)
