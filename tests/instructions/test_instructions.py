"""The compiled core costs no more instructions than it did, and no fewer than is written down."""

import os
import shutil
from dataclasses import replace

import pytest

import notify_core
from tests.instructions import bounds
from tests.instructions.bounds import OTHER_BUILD, SAME_BUILD, Bound, complaints
from tests.instructions.callgrind import count
from tests.instructions.jobs import COMPILED, PURE

# What PERFORMANCE asks of row building, fan-out and mark.
GOAL = 5
OF_THE_GOAL = ("receive: rows", "fan-out", "mark")

STORED = Bound(own=1000, calls=10, ratio=20)


@pytest.mark.instructions
@pytest.mark.timeout(300)  # 40 s where nothing else runs
@pytest.mark.skipif(not notify_core.ACCELERATED, reason="the pure twins run")
def test_no_job_costs_more_than_its_bound():
    if shutil.which("valgrind") is None:
        missing = "valgrind is missing; on Debian: sudo apt-get install valgrind"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    found = bounds.bounds_of(count(COMPILED), count(PURE))
    stored, build = bounds.read()
    allowed = SAME_BUILD if build == bounds.this_build() else OTHER_BUILD
    assert not list(complaints(found, stored, allowed))
    reached = {name: bound.ratio for name, bound in found.items() if name.startswith(OF_THE_GOAL)}
    assert min(reached.values()) >= GOAL, reached


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (replace(STORED, own=1049), []),
        (replace(STORED, own=1051), ["instructions of the core: 1051 an item, bound 1000"]),
        (replace(STORED, calls=11), ["calls out of the core: 11 an item, bound 10"]),
        (replace(STORED, own=801, calls=8.1), []),
        (replace(STORED, own=799), ["too loose to keep the gain"]),
        (replace(STORED, ratio=19.1), []),
        (replace(STORED, ratio=18.9), ["18.9 times as cheap as its pure twin, it was 20"]),
    ],
)
def test_what_is_complained_of(now, said):
    found = list(complaints({"job": now}, {"job": STORED}, SAME_BUILD))
    assert len(found) == len(said)
    assert all(part in whole for part, whole in zip(said, found, strict=True))


def test_of_another_build_only_what_doubles_shows():
    def told(now):
        return list(complaints({"job": now}, {"job": STORED}, OTHER_BUILD))

    assert not told(Bound(own=1500, calls=13, ratio=10))
    assert not told(Bound(own=100, calls=1, ratio=200))
    assert len(told(Bound(own=2000, calls=20, ratio=5))) == 3


def test_a_job_without_a_bound_is_told():
    found = list(complaints({"job": STORED, "new": STORED}, {"job": STORED}, SAME_BUILD))
    assert found == [f"these jobs are not those of the bounds: new. Renew them: {bounds.RENEW}"]
