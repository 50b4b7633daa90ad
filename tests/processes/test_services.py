"""Each service by itself: waits for its servers, refuses what cannot work, stops in order."""

import asyncio
import signal
import socket
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

import pytest

from notify.config.sections import StorageConfig
from notify.domain.errors import Busy
from notify.domain.ports import WorkerLease
from notify.runtime.clock import SystemClock
from notify.storage import open_storage
from tests.processes.fleet import SERVICES, TOKEN, Fleet
from tests.servers import mariadb
from tests.servers.mariadb import Mariadb
from tests.servers.redis import RedisServer, free_port
from tests.support.http_api import HttpApi
from tests.support.receiver import Receiver
from tests.support.waiting import until

pytestmark = pytest.mark.crash


def test_services_that_start_before_their_servers_wait_and_then_deliver(run, tmp_path: Path):
    # The user exists when the server answers: who is refused ends.
    database = Mariadb()
    database.create()
    database.kill()
    queue = RedisServer(port=free_port())
    url = f"redis://127.0.0.1:{queue.port}/0"
    fleet = Fleet(database.url("nt_late"), url, tmp_path)

    async def scenario() -> None:
        async with fleet, Receiver() as receiver:
            await asyncio.gather(*(fleet.start(service) for service in SERVICES))
            for service in fleet.services.values():
                assert (await service.get("/healthz")).status_code == 200
                unready = await service.get("/readyz")
                assert unready.status_code == 503
            refused = await fleet.services["api"].get("/v1/producers")
            assert refused.status_code == 401
            reasons = (await fleet.services["maker"].get("/readyz")).json()["reasons"]
            assert "cannot be reached: start the server" in reasons[0]

            await asyncio.to_thread(database.start)
            await asyncio.to_thread(database.sql, "CREATE DATABASE nt_late")
            migrating = await fleet.program("notify", "migrate")
            assert await migrating.wait() == 0, migrating.stderr
            maker = fleet.services["maker"]

            async def waits_for_redis() -> bool:
                reasons = (await maker.get("/readyz")).json()["reasons"]
                return "Redis cannot be reached" in reasons[0]

            await until(waits_for_redis, "the Maker waits for Redis")
            await asyncio.to_thread(queue.start)
            await fleet.ready()
            async with HttpApi(fleet.services["api"].url, TOKEN) as api:
                producer = await api.producer()
                await api.subscribe(producer, receiver, "mail")
                await api.send(producer, [{"type": "t", "payload": 1}])
                await api.settled(1)
        for name in SERVICES:
            # One sentence for each reason, not one for each try.
            log = fleet.log_of(name)
            said = [line.partition("waiting: ")[2] for line in log.splitlines()]
            assert all(one != other for one, other in pairwise(filter(None, said))), log
            assert "cannot be reached: start the server" in "".join(said)
            assert "Traceback" not in log

    try:
        run(scenario())
    finally:
        queue.remove()
        database.remove()


def test_every_service_drains_and_ends_with_code_0(run, fleet: Fleet):
    async def scenario() -> None:
        async with fleet, Receiver() as receiver, await fleet.start_all() as api:
            producer = await api.producer()
            await api.subscribe(producer, receiver, "mail")
            message = {"type": "t", "payload": "x" * 100}
            await api.send(producer, [message] * 200)
            for name in SERVICES:
                assert await fleet.services[name].terminate() == 0, fleet.log_of(name)
                assert "Traceback" not in fleet.log_of(name)
            fleet.services.clear()
            async with await fleet.start_all() as again:
                await again.settled(200)
            # Nothing crashed, so nobody got anything twice.
            assert set(receiver.taken.values()) == {1}
            assert len(receiver.taken) == 200

    run(scenario())


def test_figures_of_every_service_are_on_its_metrics(run, fleet: Fleet):
    async def scenario() -> None:
        async with fleet, Receiver() as receiver, await fleet.start_all() as api:
            producer = await api.producer()
            await api.subscribe(producer, receiver, "mail")
            await api.send(producer, [{"type": "t", "payload": 1}] * 3)
            await api.settled(3)
            services = fleet.services
            assert await services["maker"].metric("notify_maker_messages_total") == 3
            assert await services["maker"].metric("notify_maker_deliveries_total") == 3
            assert await services["sender"].metric("notify_sender_attempts_total") == 3
            assert await services["sender"].metric("notify_sender_in_flight") == 0
            assert await services["marker"].metric("notify_marker_outcomes_total") == 3
            assert await services["rescuer"].metric("notify_rescuer_leads") == 1
            for service in services.values():
                assert await service.metric("process_cpu_seconds_total") > 0
            missing = await services["maker"].get("/nothing")
            assert missing.status_code == 404
            assert "/healthz" in missing.text

    run(scenario())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"STORAGE__URL": "sqlite:///x.db"}, "belongs to one process: separate services need"),
        ({"QUEUE__URL": "memory:"}, "queue.url is memory:, which belongs to one process"),
        ({"QUEUE__URL": "http://x"}, "queue.url has the scheme 'http'"),
        ({"QUEUE__LEASE_MS": "soon"}, "NOTIFY_QUEUE__LEASE_MS"),
        ({"STORAGE__URL": "wrong password"}, "refuses the user or password of storage.url"),
    ],
)
def test_what_this_process_must_change_ends_it_with_one_sentence(run, fleet, options, sentence):
    if "wrong password" in options.values():
        server = mariadb.shared()
        wrong = f"mysql://{mariadb.USER}:wrong@127.0.0.1:{server.port}/nt_fleet"
        options = {"STORAGE__URL": wrong}

    async def scenario() -> None:
        async with fleet:
            for service in ("api", "marker"):
                program = await fleet.program(f"notify.{service}", **options)
                assert await program.wait() == 1
                assert sentence in program.stderr
                assert "Traceback" not in program.stderr
                assert "wrong@" not in program.stderr

    run(scenario())


def test_a_port_that_is_taken_ends_it_with_one_sentence(run, fleet: Fleet):
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            async with fleet:
                api = await fleet.program("notify.api", API__PORT=port)
                maker = await fleet.program("notify", "maker", "--health-port", str(port))
                for program in (api, maker):
                    assert await program.wait() == 1
                    assert f"cannot serve at 127.0.0.1:{port}: Address already" in program.stderr
                    assert "Traceback" not in program.stderr

    run(scenario())


def test_two_apis_never_share_a_worker_number_and_a_stopped_one_loses_it(run, fleet: Fleet):
    """SIGSTOP past the lease: what goes on with an old number would repeat ids."""
    database = mariadb.shared()

    def holders() -> dict[int, str]:
        rows = database.sql("SELECT id, owner FROM worker", database="nt_fleet")
        return {id_: owner.decode() for id_, owner in rows if owner}

    clock = SystemClock()
    storage = open_storage(StorageConfig(database.url("nt_fleet")))

    async def scenario() -> None:
        await storage.open()
        async with fleet:
            await fleet.start("rescuer")  # begins the queue's epoch
            first = await fleet.start("api")
            await until(first.is_ready, "the first is ready")
            second = await fleet.start("api")
            await until(second.is_ready, "the second is ready")
            before = holders()
            assert len(before) == 2
            first.signal(signal.SIGSTOP)
            (number,) = [id_ for id_, owner in before.items() if f"-{first.program.pid}-" in owner]

            async def is_taken() -> bool:
                """Somebody else leases all there are: at last this one, when it is free."""
                try:
                    while number not in taken:
                        lease = await storage.lease_worker("other", clock.now_ms(), 60_000)
                        taken[lease.worker] = lease
                except Busy:
                    return False
                return True

            taken: dict[int, WorkerLease] = {}
            await until(is_taken, "its lease ran out", 30)
            for lease in taken.values():
                if lease.worker != number:
                    await storage.release_worker(lease, "other", lease.floor_ms)
            first.signal(signal.SIGCONT)

            async def has_another() -> bool:
                own = f"-{first.program.pid}-"
                return any(own in owner for owner in holders().values())

            await until(has_another, "it has taken another number")
            await until(first.is_ready, "it is ready again")
            assert f"-{first.program.pid}-" not in holders()[number]
        await storage.close()

    run(scenario())


def test_a_url_with_every_kind_of_character_reaches_the_services(run, fleet: Fleet):
    """Through the environment, as an operator's escaped password does."""
    assert quote("/ü'", safe="") in fleet.environ["NOTIFY_STORAGE__URL"]

    async def scenario() -> None:
        async with fleet:
            marker = await fleet.start("marker")
            await fleet.start("rescuer")
            await until(marker.is_ready, "it connects")

    run(scenario())
