"""`notify doctor`: everything at once, one line each, no secrets, within its time."""

import json
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from notify.cli import doctor as command
from notify.cli import main
from notify.config import load
from notify.domain.finding import Finding, Level, ok


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Nothing configured but a data file of the test's own, and files enough."""
    monkeypatch.chdir(tmp_path)
    for name in ("QUEUE__URL", "API__ADMIN_TOKEN", "API__PORT", "SENDER__ALLOW_CIDRS"):
        monkeypatch.delenv(f"NOTIFY_{name}", raising=False)
    monkeypatch.setenv("NOTIFY_STORAGE__URL", "sqlite:///notify.db")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (65536, 65536))
    return monkeypatch


def doctor(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str]:
    """Its exit code and what it printed."""
    with pytest.raises(SystemExit) as caught:
        main(["doctor", *args])
    code = caught.value.code
    assert isinstance(code, int)
    out = capsys.readouterr()
    assert out.err == ""
    assert "secret" not in out.out
    return code, out.out


def told(**flags: Any) -> dict[str, str]:
    """Errors and warnings by level and subject."""
    found = command.examined(load(flags=flags))
    return {
        f"{one.level} {one.subject}": f"{one.text}; {one.advice}"
        for one in found
        if one.level is not Level.OK
    }


def test_a_fresh_installation_is_well(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out = doctor(capsys)
    assert code == 0
    assert all(line.startswith("ok ") for line in out.splitlines())
    assert "`notify up` makes it" in out
    assert "only public addresses may be called" in out
    assert list(tmp_path.iterdir()) == [], "it makes nothing"


def test_nothing_hides_anything_else(
    capsys: pytest.CaptureFixture[str], environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "notify.toml"
    file.write_text(
        '[storage]\nurl = "mysql://u:secret@127.0.0.1:1/d"\n[quue]\n'
        '[queue]\nurl = "redis://:secret@127.0.0.1:1/0"\ndepth_max = -1\n'
    )
    environment.delenv("NOTIFY_STORAGE__URL")
    environment.setenv("NOTIFY_API__PORT", "many")
    code, out = doctor(capsys, "--config", str(file))
    assert code == 1
    for said in (
        "there is no section [quue]",
        "NOTIFY_API__PORT: Expected `int`",
        "queue.depth_max must be at least 1",
        "mysql://u:***@127.0.0.1:1/d",
        "d on 127.0.0.1:1 cannot be reached: start the server",
        "Redis cannot be reached: start the server",
        "api.admin_token is empty: nobody can",
    ):
        assert said in out
    code, out = doctor(capsys, "--json", "--config", str(file))
    assert code == 1
    found = json.loads(out)
    assert {tuple(one) for one in found} == {("level", "subject", "text", "advice")}
    assert [one["level"] for one in found].count("error") == 5


def test_warnings_alone_are_no_failure(
    capsys: pytest.CaptureFixture[str], environment: pytest.MonkeyPatch
) -> None:
    environment.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    code, out = doctor(capsys)
    assert code == 0
    assert "warning " in out
    assert "may need 6100; run ulimit -n 6100" in out


def test_parts_that_do_not_fit_together(environment: pytest.MonkeyPatch) -> None:
    url = "mysql://u:p@127.0.0.1:1/d"
    found = told(**{"storage.url": url})
    assert "set NOTIFY_QUEUE__URL=redis://" in found["error configuration"]
    found = told(**{"storage.url": "sqlite:///", "queue.url": "rabbit://h"})
    assert "names no data file" in found["error storage"]
    assert "rabbit" in found["error queue"]


def test_it_ends_although_a_server_hangs_or_an_examination_fails(
    environment: pytest.MonkeyPatch,
) -> None:
    never = threading.Event()

    def hang(*_: object) -> Iterator[Finding]:
        yield ok("storage", "so far")
        never.wait(30)

    def fail(*_: object) -> Iterator[Finding]:
        raise ZeroDivisionError("oops")

    environment.setattr(command, "examine_storage", hang)
    environment.setattr(command, "examine_queue", fail)
    began = time.monotonic()
    found = list(command.examined(load(), total_s=0.2))
    assert time.monotonic() - began < 5
    never.set()
    assert "so far" in [one.text for one in found]
    failed = {one.subject: one.text for one in found if one.level is Level.ERROR}
    assert failed["storage"] == "not everything could be examined in time"
    assert "oops" in failed["queue"]
