"""What an examination of a system's parts found: plain data, one line each."""

from enum import StrEnum
from typing import Final, NamedTuple

# How far the clocks of two machines may be apart. Leases and due times are compared by them.
SKEW_WARNING_MS: Final = 500
SKEW_ERROR_MS: Final = 5000


class Level(StrEnum):
    """ok: as it should be. warning: it works, but not as it should. error: it will not work."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


class Finding(NamedTuple):
    """A sentence about a subject, and what to do where the level is not ok.

    advice may be empty where the text, one of Notify's errors, says already what to do.
    """

    level: Level
    subject: str
    text: str
    advice: str = ""


def ok(subject: str, text: str) -> Finding:
    """As it should be."""
    return Finding(Level.OK, subject, text)


def warning(subject: str, text: str, advice: str = "") -> Finding:
    """It works, but not as it should."""
    return Finding(Level.WARNING, subject, text, advice)


def error(subject: str, text: str, advice: str = "") -> Finding:
    """It will not work."""
    return Finding(Level.ERROR, subject, text, advice)


def clock_skew(subject: str, ahead_ms: float, round_trip_ms: float) -> Finding:
    """How far a server's clock is ahead of this host's, as sure as the round trip allows."""
    sure_ms = max(0.0, abs(ahead_ms) - round_trip_ms / 2)
    way = "ahead of" if ahead_ms > 0 else "behind"
    text = f"its clock is {sure_ms / 1000:.1f} s {way} this host's"
    advice = "let NTP keep both clocks (chrony, systemd-timesyncd)"
    if sure_ms >= SKEW_ERROR_MS:
        return error(subject, f"{text}, which ends leases too early or too late", advice)
    if sure_ms >= SKEW_WARNING_MS:
        return warning(subject, text, advice)
    return ok(subject, "its clock and this host's agree")
