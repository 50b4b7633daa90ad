"""The command line: `notify <command>`."""

from notify.cli.main import main

__all__ = ["main"]
