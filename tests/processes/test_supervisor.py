"""`notify up` over MySQL and Redis: a set of processes that stays whole, and ends as a whole."""

import asyncio
import os
import re
import signal

import pytest

from tests.processes.fleet import SERVICES, TOKEN, Fleet
from tests.support.http_api import HttpApi
from tests.support.process import UP, Program
from tests.support.receiver import Receiver
from tests.support.waiting import until

pytestmark = pytest.mark.crash

STARTED = re.compile(r"(\w+) (\d+) \(pid (\d+)\) is up")


class Supervised:
    """`notify up` that was started; `pids` by service and number, as it last said."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.pids: dict[tuple[str, int], int] = {}
        self.url = ""

    async def read(self) -> str:
        line = await self.program.line()
        if found := STARTED.match(line):
            self.pids[found[1], int(found[2])] = int(found[3])
        if line.startswith(UP):
            self.url = line.removeprefix(UP).split(",")[0]
        return line

    async def up(self) -> None:
        while not self.url:
            assert await self.read(), self.program.stderr

    async def gone(self) -> None:
        await until(lambda: not any(map(is_running, self.pids.values())), "all are gone", 30)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def start(fleet: Fleet, workers: int) -> Supervised:
    environ = fleet.environ
    program = await fleet.program(
        "notify", "up", "--workers", str(workers), "--port", "0",
        "--database", environ.pop("NOTIFY_STORAGE__URL"),
        "--queue", environ.pop("NOTIFY_QUEUE__URL"),
    )  # fmt: skip
    return Supervised(program)


def test_what_dies_is_started_again_and_everything_is_delivered(run, fleet: Fleet):
    async def scenario() -> None:
        async with fleet, Receiver() as receiver:
            it = await start(fleet, 2)
            await it.up()
            assert sorted(it.pids) == sorted(
                (service, number)
                for service in SERVICES
                for number in ((1,) if service == "rescuer" else (1, 2))
            )
            async with HttpApi(it.url, TOKEN) as api:
                producer = await api.producer()
                await api.subscribe(producer, receiver, "mail")
                # The Apis last: they take the client's connection with them.
                for key in sorted(it.pids, reverse=True):
                    before = it.pids[key]
                    await api.send(producer, [{"type": "t", "payload": 1}] * 10)
                    os.kill(before, signal.SIGKILL)
                    while it.pids[key] == before:
                        assert await it.read(), it.program.stderr
                    if key[0] == "api":
                        await api.reconnect()
                await api.settled(90, 60)
            assert len(receiver.taken) == 90
            it.program.signal(signal.SIGTERM)
            assert await it.program.wait() == 0
            await it.gone()
            assert it.program.stderr.count("was killed by signal 9; starting it again") == 9
            assert "Traceback" not in it.program.stderr

    run(scenario())


def test_a_killed_supervisor_leaves_nobody_behind(run, fleet: Fleet):
    async def scenario() -> None:
        async with fleet:
            it = await start(fleet, 1)
            await it.up()
            it.program.signal(signal.SIGKILL)
            await it.gone()
            assert "Traceback" not in it.program.stderr

    run(scenario())


def test_a_set_needs_a_queue_that_it_can_share(run, fleet: Fleet):
    async def scenario() -> None:
        async with fleet:
            environ = {"QUEUE__URL": "memory:"}
            program = await fleet.program("notify", "up", **environ)
            none = await fleet.program("notify", "up", "--workers", "0")
            assert await program.wait() == await none.wait() == 1
            assert "add --queue redis://" in program.stderr
            assert "--workers must be at least 1" in none.stderr

    run(scenario())


def test_it_waits_for_a_database_that_is_away_and_can_be_stopped_meanwhile(run, fleet: Fleet):
    async def scenario() -> None:
        async with fleet:
            away = "mysql://notify@127.0.0.1:1/nt_away"
            program = await fleet.program("notify", "up", STORAGE__URL=away)
            await until(lambda: "waiting: " in program.stderr, "it waits")
            program.signal(signal.SIGTERM)
            assert await program.wait() == 0
            assert program.stderr.count("waiting: ") == 1

    run(scenario())


def test_a_client_that_comes_while_the_api_restarts_waits_instead_of_being_refused(run, fleet):
    async def scenario() -> None:
        async with fleet:
            it = await start(fleet, 1)
            await it.up()
            async with HttpApi(it.url, TOKEN) as api:
                producer = await api.producer()
                os.kill(it.pids["api", 1], signal.SIGKILL)
                await until(lambda: not is_running(it.pids["api", 1]), "it is dead")
                async with asyncio.timeout(30), HttpApi(it.url, TOKEN) as another:
                    await until(lambda: accepts(another, producer), "messages are taken")

    async def accepts(api: HttpApi, producer: object) -> bool:
        try:
            await api.send(producer, [{"type": "t", "payload": 1}])
        except AssertionError:
            return False  # it answers 503 while it connects
        return True

    run(scenario())
