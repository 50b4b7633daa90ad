"""Where values come from, and every mistake told at once."""

from pathlib import Path
from typing import Any

import pytest

from notify.config import Config, load
from notify.domain.errors import ConfigError


def problems(environ: dict[str, str] | None = None, **more: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(environ=environ or {}, **more)
    return caught.value.problems


def written(folder: Path, text: str) -> Path:
    file = folder / "notify.toml"
    file.write_text(text, "utf-8")
    return file


def test_flags_come_before_environment_before_file_before_defaults(tmp_path: Path) -> None:
    file = written(
        tmp_path, '[api]\nport = 1\nhost = "file"\nrequests_max = 11\n[queue]\nlease_ms = 5\n'
    )
    environ = {"NOTIFY_API__PORT": "2", "NOTIFY_API__HOST": "environment"}
    config = load(file, environ, {"api.port": 3})
    assert (config.api.port, config.api.host) == (3, "environment")
    assert (config.api.requests_max, config.queue.lease_ms) == (11, 5)
    assert config.api.commit_rows_max == load(environ={}).api.commit_rows_max


def test_the_process_environment_is_read_where_none_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NOTIFY_API__PORT", "4711")
    assert load().api.port == 4711


def test_what_is_not_ours_in_the_environment_is_left_alone() -> None:
    environ = {
        "NOTIFY_PURE": "1",
        "NOTIFY_REQUIRE_EXT": "1",
        "NOTIFY_SOCKET": "/run/systemd/notify",
        "PATH": "/bin",
        "NOTIFYING": "x",
    }
    assert load(environ=environ) == load(environ={})


def test_every_problem_is_told_at_once_with_its_origin(tmp_path: Path) -> None:
    file = written(tmp_path, 'loose = 1\n[api]\nport = "many"\n[nowhere]\nx = 1\n')
    environ = {
        "NOTIFY_QUEUE__DEPTH_MAX": "-5",
        "NOTIFY_STORAGE_URL": "sqlite:///x.db",
        "NOTIFY_SENDER__ALLOW_CIDRS": "10.0.0.0/8, 10.0.0.1/8, nonsense",
    }
    flags = {"runtime.log_level": "loud", "sender.origin": "a b", "api.nothing": 1}
    found = problems(environ, file=file, flags=flags)
    expected = [
        f"{file}: loose must be in a [section]",
        f"{file}: api.port: Expected `int`, got `str`",
        f"{file}: nowhere.x: there is no option nowhere.x; see `notify config`",
        "NOTIFY_STORAGE_URL: there is no option storage_url; see `notify config`",
        "api.nothing: there is no option api.nothing; see `notify config`",
        "queue.depth_max must be at least 1, not -5",
        "runtime.log_level must be one of debug, info, warning, error",
        "sender.origin must be a DNS name, such as notify.example.com",
        "sender.allow_cidrs: 10.0.0.1/8 has host bits set; write networks as 10.0.0.0/8",
    ]
    assert found[:-1] == expected
    assert found[-1].startswith("sender.allow_cidrs: 'nonsense' does not appear")


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("api.port", True, "api.port: Expected `int`, got `bool`"),
        ("api.port", 1.5, "api.port: Expected `int`, got `float`"),
        ("api.port", 65536, "api.port must be 0 (any free port) to 65535, not 65536"),
        ("api.port", -1, "api.port must be at least 0, not -1"),
        ("api.host", 5, "api.host: Expected `str`, got `int`"),
        ("queue.lease_ms", 0, "queue.lease_ms must be at least 1, not 0"),
        ("sender.retry_jitter", "much", "sender.retry_jitter: Expected `float`, got `str`"),
        ("sender.allow_cidrs", 7, "sender.allow_cidrs: Expected `array`, got `int`"),
        ("sender.retry_schedule_ms", "1,x", "sender.retry_schedule_ms: Expected `int`, got `str`"),
        (
            "sender.response_kept_bytes",
            65537,
            "sender.response_kept_bytes must not exceed sender.response_bytes_max",
        ),
    ],
)
def test_a_wrong_value_is_one_sentence(name: str, value: Any, problem: str) -> None:
    [told] = problems(flags={name: value})
    assert told.startswith(problem)


@pytest.mark.parametrize(
    "flags",
    [
        {"sender.retry_jitter": 1.5},
        {"sender.retry_jitter": "nan"},
        {"sender.retry_schedule_ms": "5,-1"},
        {"sender.retry_schedule_ms": [1] * 100},
    ],
)
def test_a_retry_schedule_out_of_bounds_is_refused(flags: dict[str, Any]) -> None:
    [told] = problems(flags=flags)
    assert told.startswith("sender.retry_schedule_ms: retry.")


def test_a_section_that_does_not_exist_is_refused_though_it_is_empty(tmp_path: Path) -> None:
    file = tmp_path / "notify.toml"
    file.write_text("[api]\n[quue]\n")
    assert problems(file=file) == [f"{file}: there is no section [quue]; see `notify config`"]


def test_lists_are_written_with_commas_in_the_environment() -> None:
    config = load(
        environ={
            "NOTIFY_SENDER__ALLOW_CIDRS": " 10.0.0.0/8 ,fd00::/8,",
            "NOTIFY_SENDER__RETRY_SCHEDULE_MS": "100, 2000",
        }
    )
    assert config.sender.allow_cidrs == ("10.0.0.0/8", "fd00::/8")
    assert config.sender.retry_schedule_ms == (100, 2000)
    empty = load(environ={"NOTIFY_SENDER__RETRY_SCHEDULE_MS": ""})
    assert empty.sender.retry_schedule_ms == ()


def test_zero_is_allowed_only_where_it_means_something() -> None:
    flags = {"api.port": 0, "api.commit_wait_ms": 0, "sender.outcome_wait_ms": 0}
    assert load(environ={}, flags=flags).api.port == 0


@pytest.mark.parametrize(
    ("text", "problem"),
    [(b"[api\n", "not TOML"), (b"[api]\nhost = '\xff'\n", "not TOML"), (None, "cannot be read")],
)
def test_a_file_that_cannot_be_used_is_named(
    tmp_path: Path, text: bytes | None, problem: str
) -> None:
    file = tmp_path / "notify.toml"
    if text is not None:
        file.write_bytes(text)
    [told] = problems(file=file)
    assert told.startswith(f"{file}: {problem}")


def test_a_configuration_cannot_be_changed_afterwards() -> None:
    config: Config = load(environ={})
    with pytest.raises(AttributeError):
        config.api.port = 1  # type: ignore[misc]
