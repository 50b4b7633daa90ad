"""Notify: durable message delivery to HTTP endpoints."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("notify")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
