"""`notify fsck` as an operator sees it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from notify.cli import main
from notify.queue.memory import MemoryQueue
from notify.runtime.clock import SystemClock
from notify.runtime.rescue import UNSPLIT_FROM
from notify.storage import sqlite_url
from notify.storage.sqlite import SqliteStorage
from notify_core.records import QUEUED
from tests.fsck.conftest import DATABASE
from tests.fsck.ground import HOUR_MS, Ground


@pytest.fixture
def shown(shared_ground: Ground, server, shared_redis, monkeypatch, capsys):
    """Run the command over MariaDB and Redis: its exit code, and what it wrote."""
    monkeypatch.setenv("NOTIFY_STORAGE__URL", server.url(DATABASE))
    monkeypatch.setenv("NOTIFY_QUEUE__URL", shared_redis.url)
    monkeypatch.setattr("notify.cli.fsck.SETTLE_S", 0.01)
    return lambda *args: fsck(capsys, *args)


def fsck(capsys, *args: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(["fsck", *args])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return caught.value.code, out, err


def test_from_damage_to_clean(shared_ground: Ground, run, shown) -> None:
    lost = run(shared_ground.deliveries(3, subs=[2]))
    code, out, err = shown()
    assert code == 1
    assert "forgotten" in out
    assert str(lost[0]) in out.replace("\n", "")
    assert out.splitlines()[-1] == "Not clean: 3 forgotten. Run `notify fsck --repair`."
    assert "Counting deliveries: 3 of 3" in err.splitlines()
    code, out, _ = shown("--repair")
    assert code == 0
    assert out.splitlines()[-1] == "Repaired: 3 forgotten; a second look finds nothing."
    code, out, _ = shown()
    assert code == 0
    assert out == "Clean: 3 deliveries are accounted for, and nothing is lost.\n"


def test_json_is_one_object_and_nothing_else(shared_ground: Ground, run, shown) -> None:
    lost = run(shared_ground.store(1))
    code, out, err = shown("--json")
    assert (code, err) == (1, "")
    [found] = json.loads(out)["findings"]
    assert found["check"] == "unsplit"
    assert found["message_ids"] == [str(lost[0])]
    code, out, _ = shown("--json", "--repair")
    told = json.loads(out)
    assert (code, told["clean"], told["remaining"]) == (0, True, [])
    assert len(told["findings"]) == 1


def test_what_a_repair_must_leave_is_exit_code_1(shared_ground: Ground, shown, run) -> None:
    run(shared_ground.storage.set_note("rebuilt_epoch_ms", 5))
    code, out, _ = shown("--repair")
    assert code == 1
    assert "start one" in " ".join(out.split())
    assert out.splitlines()[-1] == "Not clean: 1 queue lost; after the repair 1 queue lost left."


def test_the_young_are_passed_over_as_told(shared_ground: Ground, run, shown) -> None:
    run(shared_ground.deliveries(1))
    assert shown("--grace-ms", str(24 * 3_600_000))[0] == 0
    assert shown("--grace-ms", "0")[0] == 1


@pytest.fixture
def data_file(tmp_path: Path, monkeypatch) -> Path:
    path = tmp_path / "data" / "notify.db"
    monkeypatch.setenv("NOTIFY_STORAGE__URL", sqlite_url(path))
    monkeypatch.delenv("NOTIFY_QUEUE__URL", raising=False)
    return path


def test_a_stopped_embedded_notify(data_file: Path, run, capsys) -> None:
    """What was queued or not split when it stopped is no difference: its next start knows."""

    async def change(unsplit_from_ms: int = 0, messages: int = 0) -> None:
        storage = SqliteStorage(str(data_file))
        ground = Ground(storage, MemoryQueue(SystemClock()))
        await storage.open()
        await storage.set_note(UNSPLIT_FROM, unsplit_from_ms)
        await ground.deliveries(messages, QUEUED, [1])
        ground.past_ms += HOUR_MS
        await ground.store(messages)
        await storage.close()

    run(change(messages=3))
    code, out, _ = fsck(capsys)
    assert code == 0
    assert "queues 3 deliveries again and splits 3 messages" in out
    # From then on the next start looks, and none of these is so young.
    run(change(SystemClock().now_ms()))
    code, out, _ = fsck(capsys)
    assert code == 1
    assert out.splitlines()[-1] == "Not clean: 3 unsplit. Run `notify fsck --repair`."
    assert fsck(capsys, "--repair")[0] == 0
    assert fsck(capsys)[0] == 0


def test_a_data_file_in_use_or_missing_is_a_sentence(data_file: Path, run, capsys) -> None:
    code, out, err = fsck(capsys)
    assert (code, out) == (1, "")
    assert err == f"notify: there is no data file {data_file}: correct storage.url\n"
    assert not data_file.parent.exists()
    storage = SqliteStorage(str(data_file))
    run(storage.open())
    code, _, err = fsck(capsys)
    assert code == 1
    assert "is used by another process" in err
    run(storage.close())
    assert fsck(capsys)[0] == 0


# A shell starts what runs in the background with SIGINT ignored, which children inherit.
SLOWLY = """
import signal, time
from notify.cli import main, fsck
from notify.storage.mysql import audit
audit.PAGE_ROWS = 1
audit.Tally.add_unlisted = lambda *_: time.sleep(0.05)
signal.signal(signal.SIGINT, signal.default_int_handler)
main(["fsck"])
"""


def test_a_shared_database_has_a_shared_queue(shown, monkeypatch) -> None:
    monkeypatch.delenv("NOTIFY_QUEUE__URL")
    code, out, err = shown()
    assert (code, out) == (1, "")
    assert "set queue.url" in err


def test_interrupted_it_ends_with_a_sentence(shared_ground: Ground, run, server, shared_redis):
    run(shared_ground.deliveries(300))
    urls = {"NOTIFY_STORAGE__URL": server.url(DATABASE), "NOTIFY_QUEUE__URL": shared_redis.url}
    with subprocess.Popen(
        [sys.executable, "-c", SLOWLY], env=os.environ | urls, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("Counting")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.splitlines()[-1].startswith("notify: stopped")
    assert "Traceback" not in err
