"""The whole product inside the test's event loop, with real sockets on both sides."""

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from notify.config import load
from notify.embedded import Notify
from tests.support.http_api import HttpApi


@pytest.fixture(autouse=True)
def no_bugs_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A service survives its own bugs; here they fail the test."""
    caplog.set_level(logging.WARNING)
    yield
    bugs = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert not bugs


@pytest.fixture
def notify(tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[tuple[Notify, HttpApi]]]:
    """`async with notify({"queue.depth_max": 20}) as (it, api)`; again: the same data."""

    @asynccontextmanager
    async def running(flags: dict[str, Any] | None = None) -> AsyncIterator[tuple[Notify, HttpApi]]:
        flags = {
            "api.port": 0,
            "sender.allow_cidrs": ["127.0.0.0/8"],
            "runtime.drain_ms": 500,
            **(flags or {}),
        }
        config = load(environ={}, flags=flags)
        async with (
            Notify(tmp_path / "data", config=config) as it,
            HttpApi(it.url, it.admin_token) as api,
        ):
            yield it, api

    return running
