"""A supervised process, where the host has no room for it at the moment."""

import asyncio
import errno
import os
from typing import Any

import pytest

from notify.cli import supervise


def test_what_cannot_be_started_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    child = supervise.Child("maker 1", "maker", (), ())
    tries = []

    async def refuse(*_: Any, **__: Any) -> Any:
        tries.append(1)
        if len(tries) == 3:
            await child.stop(1)
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse)
    monkeypatch.setattr(supervise, "RESTART_FIRST_S", 0.001)
    asyncio.run(child.watch({}))
    assert len(tries) == 3
    assert capsys.readouterr().err.count("maker 1 cannot be started (Resource temp") == 2
