"""Notify: durable message delivery to HTTP endpoints."""

import os
from importlib.metadata import PackageNotFoundError, version

from notify.sources import prefer_sources

if os.environ.get("NOTIFY_PURE") == "1":
    prefer_sources(__name__)

try:
    __version__ = version("notify")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
