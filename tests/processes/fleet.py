"""Services as processes of a test, by name."""

import asyncio
import signal
from itertools import count
from pathlib import Path
from typing import Any, Self

import httpx

from tests.support.http_api import HttpApi
from tests.support.process import Program, environment
from tests.support.waiting import until

SERVICES = ("api", "maker", "sender", "marker", "rescuer")
TOKEN = "the-admin-token"
# Short, so that what follows from a death is seen soon.
OPTIONS: dict[str, object] = {
    "API__PORT": 0,
    "API__ADMIN_TOKEN": TOKEN,
    "QUEUE__LEASE_MS": 3000,
    "RESCUER__FORGOTTEN_GRACE_MS": 4000,
    "RESCUER__UNSPLIT_GRACE_MS": 1000,
    "RUNTIME__WORKER_LEASE_MS": 3000,
    "RUNTIME__DRAIN_MS": 3000,
}


class Service:
    """One service process; `url` is where it serves, or where its health is asked."""

    def __init__(self, program: Program, url: str) -> None:
        self.program = program
        self.url = url

    async def get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.get(self.url + path, timeout=10)

    async def is_ready(self) -> bool:
        return (await self.get("/readyz")).status_code == 200

    async def metric(self, name: str) -> float:
        lines = (await self.get("/metrics")).text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    def signal(self, number: int) -> None:
        self.program.signal(number)

    async def terminate(self) -> int:
        self.signal(signal.SIGTERM)
        return await self.program.wait()


class Fleet:
    """Starts services over one database and one queue; `async with` kills what is left."""

    def __init__(self, database: str, queue: str, directory: Path, **options: object) -> None:
        self.environ = environment(
            **{**OPTIONS, "STORAGE__URL": database, "QUEUE__URL": queue, **options}
        )
        self._directory = directory
        self._numbers = count()
        self._programs: list[Program] = []
        self.services: dict[str, Service] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for program in self._programs:
            program.signal(signal.SIGCONT)
            program.signal(signal.SIGKILL)
        await asyncio.gather(*(program.wait() for program in self._programs))

    async def program(self, *arguments: str, **options: object) -> Program:
        """Any program of Notify, with more options of the environment."""
        log = self._directory / f"{next(self._numbers)}.log"
        environ = {**self.environ, **{f"NOTIFY_{name}": str(v) for name, v in options.items()}}
        program = await Program.run(("-m", *arguments), environ, log)
        self._programs.append(program)
        return program

    async def start(self, service: str, **options: object) -> Service:
        """One more process of a service; it may not be ready yet."""
        program = await self.program(f"notify.{service}", **options)
        line = await program.line()
        if not line:
            code = await program.wait()
            raise AssertionError(f"{service} ended at once ({code}): {program.stderr}")
        assert line.startswith(f"notify {service} is up"), line
        made = self.services[service] = Service(program, line.split()[-1])
        return made

    async def start_all(self) -> HttpApi:
        """One of each, ready; the API."""
        await asyncio.gather(*(self.start(service) for service in SERVICES))
        await self.ready()
        return HttpApi(self.services["api"].url, TOKEN)

    async def ready(self) -> None:
        for name, service in self.services.items():
            await until(service.is_ready, f"{name} is ready", 30)

    def log_of(self, service: str) -> Any:
        return self.services[service].program.stderr
