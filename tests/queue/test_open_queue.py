"""The scheme of queue.url chooses the adapter."""

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from notify.config import QueueConfig, load
from notify.domain.errors import ConfigError
from notify.queue import open_queue
from notify.queue.memory import MemoryQueue

Run = Callable[[Coroutine[Any, Any, Any]], Any]


class NoClock:
    """A clock that nobody asks."""

    def now_ms(self) -> int:
        raise AssertionError

    async def sleep(self, seconds: float) -> None:
        raise AssertionError


def configured(url: str) -> QueueConfig:
    return replace(load(environ={}).queue, url=url)


def test_memory(run: Run) -> None:
    queue = open_queue(configured("memory:"), NoClock())
    assert isinstance(queue, MemoryQueue)
    assert run(queue.epoch()) is None


@pytest.mark.parametrize("url", ["rabbit://u:secret@host/", "memory", ""])
def test_anything_else_says_what_is_known_and_shows_no_secret(url: str) -> None:
    with pytest.raises(ConfigError, match="memory:") as caught:
        open_queue(configured(url), NoClock())
    assert "queue.url" in str(caught.value)
    assert "secret" not in str(caught.value)
