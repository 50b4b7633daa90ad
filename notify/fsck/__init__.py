"""fsck: proves that nothing is lost between database and queue, and puts right what is."""

from notify.fsck.findings import Check, Finding, Report, Watcher
from notify.fsck.fsck import Fsck

__all__ = ["Check", "Finding", "Fsck", "Report", "Watcher"]
