"""`notify replay` against an API: what it asks for, how it goes on, what it says."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from notify.cli import main
from notify.cli.operator_api import admin_token, api_url
from notify.config import load
from notify.domain.errors import ConfigError


class Api(http.server.ThreadingHTTPServer):
    """Answers every call with the next of `answers`, and keeps what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, Any]] = []
        self.asked: list[tuple[str, Any, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Api

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        token = self.headers["authorization"]
        self.server.asked.append((self.path, json.loads(body) if body else None, token))
        code, answer = self.server.answers.pop(0)
        text = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        return None


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    with Api() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        monkeypatch.setenv("NOTIFY_CLI__API_URL", server.url)
        monkeypatch.setenv("NOTIFY_API__ADMIN_TOKEN", "na_operator")
        yield server
        server.shutdown()
        thread.join()


def exit_code(*args: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["replay", *args])
    code = caught.value.code
    assert isinstance(code, int)
    return code


def part(replayed: int, after: str | None = None) -> tuple[int, Any]:
    return 200, {"replayed": replayed, "more": after is not None, "next": after}


def test_it_calls_again_while_there_is_more(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.answers = [part(10_000, "99-7"), part(0, "55-7"), part(12)]
    choice = ["--since", "2024-01-31T08:00:00Z", "--reason", "exhausted", "--reason", "refused"]
    assert exit_code("7", *choice) == 0
    asked = {"since": "2024-01-31T08:00:00Z", "reasons": ["exhausted", "refused"]}
    path = "/v1/subscriptions/7/replay"
    assert api.asked == [
        (path, asked, "Bearer na_operator"),
        (path, {**asked, "after": "99-7"}, "Bearer na_operator"),
        (path, {**asked, "after": "55-7"}, "Bearer na_operator"),
    ]
    out, err = capsys.readouterr()
    assert out == "10012 of subscription 7 replayed\n"
    assert err.splitlines() == ["10000 replayed so far"] * 2


def test_one_delivery_and_the_answer_for_programs(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answers = [(200, {"status": "pending"}), part(5, "1-1"), part(1)]
    assert exit_code("7", "--message", "12345", "--json") == 0
    assert exit_code("7", "--json") == 0
    assert [call[:2] for call in api.asked] == [
        ("/v1/deliveries/12345/7/replay", None),
        ("/v1/subscriptions/7/replay", {}),
        ("/v1/subscriptions/7/replay", {"after": "1-1"}),
    ]
    out, err = capsys.readouterr()
    assert [json.loads(line)["replayed"] for line in out.splitlines()] == [1, 6]
    assert err == ""


def test_what_the_api_refuses_is_one_sentence(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.answers = [(409, {"detail": "the delivery is pending"}), (502, "a proxy's page")]
    assert exit_code("7", "--message", "12345") == 1
    assert exit_code("7") == 1
    assert capsys.readouterr().err.splitlines() == [
        "notify: the API answered 409: the delivery is pending",
        'notify: the API answered 502: "a proxy\'s page"',
    ]


def test_mistakes_on_the_command_line(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    for args, says in (
        (("0",), "SUBSCRIPTION"),
        (("7", "--reason", "unmatched"), "--reason"),
        (("7", "--message", "5", "--since", "x"), "give no other choice"),
    ):
        assert exit_code(*args) == 2
        assert says in capsys.readouterr().err
    assert not api.asked


def test_an_api_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NOTIFY_CLI__API_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("NOTIFY_API__ADMIN_TOKEN", "na_operator")
    assert exit_code("7") == 1
    err = capsys.readouterr().err
    assert err.startswith("notify: the API at http://127.0.0.1:9 does not answer (connect: ")
    assert "set NOTIFY_CLI__API_URL" in err


@pytest.mark.parametrize(
    ("flags", "url"),
    [
        ({}, "http://127.0.0.1:8470"),
        ({"api.host": "0.0.0.0", "api.port": 81}, "http://127.0.0.1:81"),
        ({"api.host": "::"}, "http://[::1]:8470"),
        ({"api.host": "10.0.0.7"}, "http://10.0.0.7:8470"),
        ({"cli.api_url": "https://notify.example/"}, "https://notify.example:443"),
        ({"cli.api_url": "http://[fd00::1]:80"}, "http://[fd00::1]:80"),
    ],
)
def test_where_the_api_is(flags: dict[str, Any], url: str) -> None:
    assert api_url(load(environ={}, flags=flags)) == url


@pytest.mark.parametrize(
    "url", ["notify.example", "ftp://x", "http://", "http://x:y", "http://a:b@x", "http://x/v1"]
)
def test_a_url_that_cannot_be_used(url: str) -> None:
    with pytest.raises(ConfigError, match="write it as http://host:port"):
        api_url(load(environ={}, flags={"cli.api_url": url}))


def test_the_token_is_the_configured_one_or_the_one_that_up_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = {"storage.url": f"sqlite:///{tmp_path}/notify.db"}
    with pytest.raises(ConfigError, match="set NOTIFY_API__ADMIN_TOKEN"):
        admin_token(load(environ={}, flags=flags))
    (tmp_path / "admin-token").write_text("na_made\n")
    assert admin_token(load(environ={}, flags=flags)) == "na_made"
    assert admin_token(load(environ={}, flags=flags | {"api.admin_token": "own"})) == "own"
    monkeypatch.chdir(tmp_path)
    shared = {"storage.url": "mysql://u@h/d"}
    with pytest.raises(ConfigError, match="notify-data"):
        admin_token(load(environ={}, flags=shared))
