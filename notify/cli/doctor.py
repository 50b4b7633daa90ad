"""`notify doctor`: what is wrong with configuration and servers, and what to do about it."""

import resource
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import click
import msgspec

from notify.config import Config, read
from notify.domain.finding import Finding, Level, error, ok, warning
from notify.queue import examine_queue
from notify.queue import is_shared as is_shared_queue
from notify.runtime.clock import SystemClock
from notify.storage import examine_storage
from notify.storage import is_shared as is_shared_storage

# All examinations together; the rest of 15 s is for Python's start.
TOTAL_S: Final = 12.0
CONFIG: Final = "configuration"
# Connections to servers, logs and the like, beside those to clients and consumers.
_OTHER_FILES: Final = 100
_COLOURS: Final = {Level.OK: "green", Level.WARNING: "yellow", Level.ERROR: "red"}


@click.command()
@click.option("--config", "file", type=click.Path(path_type=Path), help="A TOML file to read.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as a JSON array.")
def doctor(file: Path | None, as_json: bool) -> None:
    """Check configuration, connections, schema, clocks and server settings; changes nothing.

    One line a check: ok, warning or error. The exit code is 1 where there is an error.
    """
    found = list(examined(*read(file)))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode([one._asdict() for one in found])))
    else:
        for one in found:
            click.echo(_line(one))
    sys.exit(1 if any(one.level is Level.ERROR for one in found) else 0)


def examined(
    config: Config, problems: Iterable[str] = (), total_s: float = TOTAL_S
) -> Iterator[Finding]:
    """Everything found about a configuration, of which problems are known, and its servers."""
    clock = SystemClock()
    servers = [
        Examination("storage", lambda: examine_storage(config, clock)),
        Examination("queue", lambda: examine_queue(config, clock)),
    ]
    yield from _configuration(config, list(problems))
    until_s = time.monotonic() + total_s
    for server in servers:
        yield from server.found_until(until_s)


class Examination:
    """One that has begun, on a thread that ends with the process: it may hang for ever."""

    def __init__(self, subject: str, examine: Callable[[], Iterator[Finding]]) -> None:
        self._subject = subject
        self._examine = examine
        self._found: list[Finding] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for one in self._examine():
                self._found.append(one)
        except Exception as failure:
            text = f"it could not be examined, which is a mistake in Notify: {failure!r}"
            self._found.append(error(self._subject, text, "report it, with this line"))

    def found_until(self, until_s: float) -> list[Finding]:
        """What it has found when it ends, or at that time (of the monotonic clock)."""
        self._thread.join(max(0.0, until_s - time.monotonic()))
        found = list(self._found)
        if self._thread.is_alive():
            text = "not everything could be examined in time"
            found.append(
                error(self._subject, text, "look for a slow network, name service or server")
            )
        return found


def _configuration(config: Config, problems: list[str]) -> Iterator[Finding]:
    for problem in problems:
        yield error(CONFIG, problem)
    urls = f"storage.url {config.storage.shown()['url']}, queue.url {config.queue.shown()['url']}"
    if problems:
        yield warning(CONFIG, f"what follows is about {urls}", "mend the errors above, then again")
    else:
        yield ok(CONFIG, urls)
    yield from _together(config)
    yield from _api(config)
    yield from _sender(config)
    yield from _open_files(config)


def _together(config: Config) -> Iterator[Finding]:
    shared = is_shared_storage(config.storage), is_shared_queue(config.queue)
    if shared == (True, False):
        yield error(
            CONFIG,
            "separate processes need a queue they share",
            "set NOTIFY_QUEUE__URL=redis://…",
        )
    elif not shared[0]:
        yield ok(CONFIG, "SQLite is for one process: `notify up`; separate services need mysql://…")


def _api(config: Config) -> Iterator[Finding]:
    if config.api.admin_token:
        return
    if is_shared_storage(config.storage):
        yield warning(
            CONFIG,
            "api.admin_token is empty: nobody can configure producers and subscriptions",
            "set NOTIFY_API__ADMIN_TOKEN to a long random text",
        )
    else:
        yield ok(CONFIG, "api.admin_token is empty: `notify up` makes one beside its data")


def _sender(config: Config) -> Iterator[Finding]:
    cidrs = ", ".join(config.sender.allow_cidrs)
    text = f"beside public addresses {cidrs}" if cidrs else "only public addresses"
    yield ok(CONFIG, f"sender.allow_cidrs: {text} may be called")


def _open_files(config: Config) -> Iterator[Finding]:
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = config.api.requests_max + config.sender.connections_max + _OTHER_FILES
    if 0 <= most < needed:
        yield warning(
            CONFIG,
            f"this shell allows {most} open files; api.requests_max and sender.connections_max"
            f" together may need {needed}",
            f"run ulimit -n {needed} before the start (systemd: LimitNOFILE), or lower them",
        )


def _line(one: Finding) -> str:
    level = click.style(f"{one.level:<8}", fg=_COLOURS[one.level])
    advice = f"; {one.advice}" if one.advice else ""
    return f"{level} {one.subject:<17} {one.text}{advice}"
