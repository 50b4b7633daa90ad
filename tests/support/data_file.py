"""What a dead process left on the disk, read from a copy: nothing there is touched."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from notify.domain.model import DeliveryStatus
from notify.storage.sqlite import SqliteStorage
from tests.support.receiver import Key


def _copy(data_dir: Path) -> Path:
    # SQLite would replay its log and remove it: that is for the next process to do.
    copy = data_dir.with_suffix(".copy")
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for file in data_dir.glob("notify.db*"):
        if not file.name.endswith((".lock", "-shm")):
            shutil.copy(file, copy)
    return copy / "notify.db"


def statuses(data_dir: Path) -> dict[Key, DeliveryStatus]:
    """Every delivery with its status."""
    with closing(sqlite3.connect(_copy(data_dir))) as db:
        rows = db.execute("SELECT msg_id, sub_id, status FROM receive_msg WHERE sub_id > 0")
        return {(message, sub): DeliveryStatus(status) for message, sub, status in rows}


def messages(data_dir: Path) -> set[int]:
    """The id of every message."""
    with closing(sqlite3.connect(_copy(data_dir))) as db:
        return {row[0] for row in db.execute("SELECT id FROM biz_msg")}


async def check_ledger(data_dir: Path) -> None:
    """The kept account of a stopped Notify is what counting every row gives."""
    storage = SqliteStorage(str(_copy(data_dir)))
    await storage.open()
    try:
        counted = await storage.counted_ledger()
        assert await storage.ledger() == counted
        assert all(row.difference == 0 for row in counted)
    finally:
        await storage.close()
