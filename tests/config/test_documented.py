"""default.toml, the dataclasses and `notify config` say the same, and no secret."""

import re
import tomllib
from dataclasses import fields
from importlib import resources

import pytest

from notify.config import Config, load
from notify.config.describe import described

TEXT = resources.files("notify.config").joinpath("default.toml").read_text("utf-8")


def declared() -> list[tuple[str, list[str]]]:
    config = load(environ={})
    return [
        (section.name, [item.name for item in fields(getattr(config, section.name))])
        for section in fields(config)
    ]


def test_default_toml_and_the_dataclasses_have_the_same_options_in_the_same_order() -> None:
    written = [(section, list(options)) for section, options in tomllib.loads(TEXT).items()]
    assert written == declared()


# Groups of options, each under the comment that is about all of them.
GROUPS = {
    "port": "host",  # an address, which needs no words
    "health_port": "health_host",
    "chunk_bytes_max": "chunk_rows_max",
    "batch_items_max": "body_bytes_max",
    "payload_bytes_max": "batch_items_max",
    "payload_depth_max": "payload_bytes_max",
    "headers_bytes_max": "payload_depth_max",
    "in_flight_max": "concurrency_max",
    "connect_timeout_ms": "timeout_ms",
    "response_kept_bytes": "response_bytes_max",
    "response_header_bytes_max": "response_kept_bytes",
    "idle_ms": "idle_connections_max",
    "retry_jitter": "retry_schedule_ms",
    "outcome_wait_ms": "outcome_rows_max",
    "forgotten_grace_ms": "unsplit_grace_ms",
    "feed_rows_max": "feed_interval_ms",
}


def test_every_option_has_a_comment_above_it_or_its_group() -> None:
    above = ""
    bare = {}
    for line in TEXT.splitlines():
        option = re.match(r"(\w+) =", line)
        if option and not above.startswith("#"):
            bare[option[1]] = above.partition(" =")[0]
        above = line
    assert bare == GROUPS | {"host": "[api]"}


def test_notify_config_shows_every_option_with_its_variable() -> None:
    lines = described(load(environ={})).splitlines()
    expected = []
    for section, options in declared():
        expected.append(f"[{section}]")
        expected += [f"NOTIFY_{section}__{option}".upper() for option in options]
    shown = [line if line.startswith("[") else line.split("(")[-1].rstrip(")") for line in lines]
    assert shown == expected
    assert "  port = 8470  (NOTIFY_API__PORT)" in lines


def test_every_shown_variable_sets_its_option() -> None:
    config = load(environ={})
    environ = {}
    for section in fields(Config):
        part = getattr(config, section.name)
        for item in fields(part):
            value = getattr(part, item.name)
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            environ[f"NOTIFY_{section.name}__{item.name}".upper()] = text
    assert load(environ=environ) == config


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mysql://app:s3cret@db:3306/notify", "mysql://app:***@db:3306/notify"),
        ("redis://:s3cret@queue:6379/0", "redis://:***@queue:6379/0"),
        ("mysql://app:s3:cret@db/notify", "mysql://app:***@db/notify"),
        ("mysql://app:s3@cret@db/notify", "mysql://app:***@db/notify"),
        ("mysql://app:s3/cret@db/notify", "mysql://app:***@db/notify"),
        ("sqlite:////var/lib/a:b@c/notify.db", "sqlite:////var/lib/a:b@c/notify.db"),
        ("redis://queue:6379", "redis://queue:6379"),
        ("memory:", "memory:"),
    ],
)
def test_passwords_in_urls_are_masked(url: str, shown: str) -> None:
    config = load(environ={}, flags={"storage.url": url, "queue.url": url})
    assert config.storage.shown()["url"] == config.queue.shown()["url"] == repr(shown)
    for text in (repr(config), described(config)):
        assert "cret" not in text
        assert shown in text


def test_the_admin_token_is_masked_and_its_absence_shown() -> None:
    config = load(environ={}, flags={"api.admin_token": "na_hidden"})
    assert "na_hidden" not in repr(config) + described(config)
    assert "admin_token='***'" in repr(config)
    assert "admin_token = ''" in described(load(environ={}))
