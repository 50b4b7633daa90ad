"""Reading the configuration. Every mistake is reported at once, with what to do about it."""

import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from notify.config.sections import Config
from notify.domain.errors import ConfigError, InvalidInput
from notify.domain.retry import Retry, check_retry

ENV_PREFIX = "NOTIFY_"
# Not options: switches of the compiled core, read where it is imported and built, and the socket
# that systemd gives to services of Type=notify.
_NOT_OPTIONS = {"NOTIFY_PURE", "NOTIFY_REQUIRE_EXT", "NOTIFY_SOCKET"}
_MAY_BE_ZERO = {"port", "health_port", "commit_wait_ms", "outcome_wait_ms", "pause_ms"}
_LOG_LEVELS = ("debug", "info", "warning", "error")
_ORIGIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", re.ASCII)

Values = dict[str, dict[str, Any]]


def load(
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Config:
    """The configuration of default.toml < file < environ < flags (`{"api.port": 8000}`).

    environ None: the process's own. Raises ConfigError with every problem found.
    """
    config, problems = read(file, environ, flags)
    if problems:
        raise ConfigError(problems)
    return config


def read(
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> tuple[Config, list[str]]:
    """As `load`, and every problem found: what could not be read has its default."""
    problems: list[str] = []
    values: Values = tomllib.loads(
        resources.files("notify.config").joinpath("default.toml").read_text("utf-8")
    )
    for name, value in _from_file(file, problems).items():
        _put(values, name, value, f"{file}: {name}", problems)
    for variable, text in (os.environ if environ is None else environ).items():
        if variable.startswith(ENV_PREFIX) and variable not in _NOT_OPTIONS:
            name = variable.removeprefix(ENV_PREFIX).lower().replace("__", ".", 1)
            _put(values, name, text, variable, problems)
    for name, value in (flags or {}).items():
        _put(values, name, value, name, problems)
    config = _built(values)
    _check(config, problems)
    return config, problems


def _from_file(file: Path | None, problems: list[str]) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        tree = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        problems.append(f"{file}: cannot be read: {error.strerror}")
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(f"{file}: not TOML: {error}")
        return {}
    flat: dict[str, Any] = {}
    for section, entries in tree.items():
        if entries == {} and section not in get_type_hints(Config):
            problems.append(f"{file}: there is no section [{section}]; see `notify config`")
        elif isinstance(entries, dict):
            flat.update({f"{section}.{key}": value for key, value in entries.items()})
        else:
            problems.append(f"{file}: {section} must be in a [section]")
    return flat


def _put(values: Values, name: str, value: Any, origin: str, problems: list[str]) -> None:
    section, _, key = name.partition(".")
    if key not in values.get(section, {}):
        problems.append(f"{origin}: there is no option {name}; see `notify config`")
        return
    hint = get_type_hints(get_type_hints(Config)[section])[key]
    if isinstance(value, str) and hint not in (str, "str"):
        value = _from_text(value, hint)
    try:
        values[section][key] = msgspec.convert(value, hint, strict=False)
    except msgspec.ValidationError as error:
        problems.append(f"{origin}: {error}")


def _from_text(text: str, hint: Any) -> Any:
    """A list is written with commas in the environment; numbers are converted later."""
    if getattr(hint, "__origin__", None) is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _built(values: Values) -> Config:
    """The values as sections; `_put` let only those in that fit."""
    kinds = get_type_hints(Config)
    return Config(**{name: msgspec.convert(values[name], kinds[name]) for name in kinds})


def _check(config: Config, problems: list[str]) -> None:
    for section in fields(config):
        part = getattr(config, section.name)
        for item in fields(part):
            value = getattr(part, item.name)
            least = 0 if item.name in _MAY_BE_ZERO else 1
            if isinstance(value, int) and value < least:
                problems.append(f"{section.name}.{item.name} must be at least {least}, not {value}")
    for name, port in (
        ("api.port", config.api.port),
        ("runtime.health_port", config.runtime.health_port),
    ):
        if port > 65535:
            problems.append(f"{name} must be 0 (any free port) to 65535, not {port}")
    if config.runtime.log_level not in _LOG_LEVELS:
        problems.append(f"runtime.log_level must be one of {', '.join(_LOG_LEVELS)}")
    if config.sender.response_kept_bytes > config.sender.response_bytes_max:
        problems.append("sender.response_kept_bytes must not exceed sender.response_bytes_max")
    if not _ORIGIN.fullmatch(config.sender.origin):
        problems.append("sender.origin must be a DNS name, such as notify.example.com")
    for cidr in config.sender.allow_cidrs:
        try:
            ipaddress.ip_network(cidr)
        except ValueError as error:
            problems.append(f"sender.allow_cidrs: {error}; write networks as 10.0.0.0/8")
    try:
        check_retry(
            Retry(schedule_ms=config.sender.retry_schedule_ms, jitter=config.sender.retry_jitter)
        )
    except InvalidInput as error:
        problems.append(f"sender.retry_schedule_ms: {error}")
