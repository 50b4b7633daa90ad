"""SIGTERM, and starts that cannot be: in order, at once, and with a sentence to go by."""

import asyncio
import signal
import socket
import time

import pytest

from notify.domain.model import DeliveryStatus
from tests.support import data_file
from tests.support.http_api import HttpApi
from tests.support.process import Program, environment
from tests.support.receiver import Receiver, refusing, taking
from tests.support.waiting import until

pytestmark = pytest.mark.crash

SLOWER = {"schedule_ms": [400] * 20, "jitter": 0}


def test_sigterm_finishes_what_is_under_way_and_leaves_the_rest(run, notify, data_dir):
    """Zero duplicates: what was answered is marked before the process ends."""

    async def slowly(wire):
        await until(lambda: stopping, "the signal")
        await asyncio.sleep(0.3)  # long enough for the process to have begun to stop
        await wire.answer(200)

    stopping = []

    async def scenario():
        async with Receiver(slowly) as slow, Receiver(refusing(500)) as failing:
            # No breaker: each delivery shall fail once.
            eager = {"SENDER__BREAKER_FAILURES": 1000}
            async with notify(data_dir, **eager) as it, HttpApi(it.url, it.token) as api:
                shop = await api.producer()
                one = await api.subscribe(shop, slow, "slow", concurrency_max=4)
                two = await api.subscribe(shop, failing, "failing", retry=SLOWER)
                await api.send(shop, [{"type": "a", "payload": n} for n in range(30)])
                await until(lambda: len(slow.arrivals) == 4, "four requests under way")
                await until(lambda: len(failing.keys) == 30, "everything failed once")
                begun = time.monotonic()
                it.program.signal(signal.SIGTERM)
                stopping.append(True)
                assert await it.program.wait() == 0
                assert time.monotonic() - begun < 5
                assert "Traceback" not in it.program.stderr
                assert "Stopping" in it.program.stdout
            left = data_file.statuses(data_dir)
            marked = {key for key, status in left.items() if status is DeliveryStatus.DELIVERED}
            assert marked == set(slow.taken)
            assert len(marked) < 30  # it did not wait until all was delivered
            assert set(left.values()) <= {DeliveryStatus.QUEUED, DeliveryStatus.DELIVERED}
            failing.answering = taking
            async with notify(data_dir) as it, HttpApi(it.url, it.token) as api:
                rows = await api.settled(60)
                assert rows[one]["delivered"] == rows[two]["delivered"] == 30
            assert set(slow.taken.values()) == set(failing.taken.values()) == {1}
            assert len(slow.taken) == len(failing.taken) == 30
            assert max(arrival.attempt for arrival in slow.arrivals) == 1
            # the attempts of what failed go on where they were
            again = [arrival.attempt for arrival in failing.arrivals if arrival.taken]
            assert min(again) >= 2
            await data_file.check_ledger(data_dir)

    run(scenario())


def test_sigint_is_obeyed_while_a_consumer_never_answers(run, notify, data_dir):
    """The drain is bounded; what was cut off is delivered after the next start."""

    async def never(wire):
        await wire.reader.read()

    async def scenario():
        async with Receiver(never) as receiver:
            async with notify(data_dir, RUNTIME__DRAIN_MS=500) as it:
                async with HttpApi(it.url, it.token) as api:
                    shop = await api.producer()
                    await api.subscribe(shop, receiver, "stuck")
                    await api.send(shop, [{"type": "a", "payload": n} for n in range(3)])
                    await until(lambda: len(receiver.arrivals) == 3, "three requests under way")
                begun = time.monotonic()
                it.program.signal(signal.SIGINT)
                assert await it.program.wait() == 0
                assert time.monotonic() - begun < 4
            receiver.answering = taking
            async with notify(data_dir) as it, HttpApi(it.url, it.token) as api:
                await api.settled(3)
            assert set(receiver.taken.values()) == {1}

    run(scenario())


async def refused(arguments, environ, tmp_path):
    """What a Notify says that cannot start: one sentence and exit code 1."""
    program = await Program.run(["-m", "notify", "up", *arguments], environ, tmp_path / "refused")
    assert await program.wait() == 1
    assert program.stdout == ""
    lines = [line for line in program.stderr.splitlines() if line.startswith("notify: ")]
    assert len(lines) == 1
    assert "Traceback" not in program.stderr
    return lines[0]


def test_a_second_process_on_the_same_directory_is_refused(run, notify, data_dir, tmp_path):
    async def scenario():
        async with notify(data_dir) as it, HttpApi(it.url, it.token) as api:
            sentence = await refused(
                ["--data-dir", str(data_dir), "--port", "0"], environment(), tmp_path
            )
            assert "used by another process" in sentence
            assert str(it.program.pid) in sentence
            assert await api.stats() == {}  # the first one does not mind
            assert await it.terminate() == 0

    run(scenario())


def test_a_taken_port_is_refused(run, data_dir, tmp_path):
    async def scenario():
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            sentence = await refused(
                ["--data-dir", str(data_dir), "--port", str(port)], environment(), tmp_path
            )
            assert f"127.0.0.1:{port}" in sentence
            assert "in use" in sentence.lower()

    run(scenario())


def test_a_wrong_configuration_is_refused(run, data_dir, tmp_path):
    async def scenario():
        wrong = environment(SENDER__TIMEOUT_MS="soon")
        sentence = await refused(["--data-dir", str(data_dir), "--port", "0"], wrong, tmp_path)
        assert "NOTIFY_SENDER__TIMEOUT_MS" in sentence
        assert not data_dir.exists()

    run(scenario())
