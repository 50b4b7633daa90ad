"""Logs of a process of ours: one line for a lasting trouble, not one for each who meets it."""

import logging
import time
from typing import Final

REPEAT_S: Final = 10.0
SENTENCES_MAX: Final = 1000


class Repeats(logging.Filter):
    """Lets a sentence pass once in REPEAT_S, and says then how often it was left out."""

    def __init__(self) -> None:
        super().__init__()
        self._passed_s: dict[tuple[str, str], float] = {}
        self._left_out: dict[tuple[str, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write this record; changes its text where others were left out before."""
        text = record.getMessage()
        key = record.name, text
        now_s = time.monotonic()
        if now_s - self._passed_s.get(key, -REPEAT_S) < REPEAT_S:
            self._left_out[key] = self._left_out.get(key, 0) + 1
            return False
        if len(self._passed_s) >= SENTENCES_MAX:
            self._passed_s.clear()
            self._left_out.clear()
        self._passed_s[key] = now_s
        if count := self._left_out.pop(key, 0):
            record.msg, record.args = f"{text} (and {count} times more meanwhile)", ()
        return True


def set_up_logs(level: str, name: str = "") -> None:
    """Write to standard error; name: of the service, for those that share an output."""
    who = f"{name} %(process)d " if name else ""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s {who}%(name)s: %(message)s"))
    handler.addFilter(Repeats())
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
