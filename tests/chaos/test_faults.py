"""Whatever dies, stops or forgets: nothing is lost, and only what was in flight comes twice.

In CI each fault strikes once, in a drawn order. `--chaos-minutes 20` goes on with drawn ones,
often two at once, for so long; `--chaos-seed` repeats what a run drew.
"""

import time

import pytest

from tests.chaos.faults import FAULTS
from tests.chaos.round import Round
from tests.chaos.system import System

pytestmark = pytest.mark.chaos


def test_nothing_is_lost_whatever_happens(run, tmp_path, pytestconfig, seed, rows):
    until = time.monotonic() + 60 * pytestconfig.getoption("chaos_minutes")

    async def scenario():
        async with System(tmp_path, seed) as system:
            blows = Round(system, seed, rows)
            for fault in blows.shuffled(FAULTS):
                await blows.strike([fault])
            while time.monotonic() < until:
                await blows.strike(blows.drawn(FAULTS))
            await blows.account()

    run(scenario())
