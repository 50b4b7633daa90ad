"""The sections of the configuration; meaning and default of each field are in default.toml."""

import re
from dataclasses import dataclass, field, fields
from typing import Any

_SECRET: dict[str, Any] = {"secret": True}
# Up to the last @: whoever forgets to escape a password must not see its rest in the log.
_URL_PASSWORD = re.compile(r"(?<=://)([^:/@]*:).*(?=@)")
# redis-py takes one as an option too.
_URL_OPTION = re.compile(r"(?<=password=)[^&]*")


class _Masked:
    """Shows no secret: a configuration ends up in logs and bug reports."""

    def shown(self) -> dict[str, str]:
        """The repr of every field by name, without secrets."""
        shown = {}
        for item in fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            value = getattr(self, item.name)
            if item.metadata.get("secret") and value:
                value = "***"
            elif item.name == "url":
                value = _URL_OPTION.sub("***", _URL_PASSWORD.sub(r"\1***", value))
            shown[item.name] = repr(value)
        return shown

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value}" for name, value in self.shown().items())
        return f"{type(self).__name__}({shown})"


@dataclass(frozen=True, repr=False)
class StorageConfig(_Masked):
    """[storage]."""

    url: str


@dataclass(frozen=True, repr=False)
class QueueConfig(_Masked):
    """[queue]."""

    url: str
    depth_max: int
    ingest_depth_max: int
    chunk_rows_max: int
    chunk_bytes_max: int
    inline_bytes_max: int
    delay_horizon_ms: int
    lease_ms: int


@dataclass(frozen=True, repr=False)
class ApiConfig(_Masked):
    """[api]."""

    host: str
    port: int
    admin_token: str = field(metadata=_SECRET)
    body_bytes_max: int
    batch_items_max: int
    payload_bytes_max: int
    payload_depth_max: int
    headers_bytes_max: int
    requests_max: int
    commit_rows_max: int
    commit_wait_ms: int
    deliver_ahead_ms_max: int


@dataclass(frozen=True, repr=False)
class MakerConfig(_Masked):
    """[maker]."""

    batch_chunks_max: int
    workers: int


@dataclass(frozen=True, repr=False)
class SenderConfig(_Masked):
    """[sender]."""

    allow_cidrs: tuple[str, ...]
    concurrency_max: int
    in_flight_max: int
    connections_max: int
    timeout_ms: int
    connect_timeout_ms: int
    idle_read_ms: int
    origin: str
    response_bytes_max: int
    response_kept_bytes: int
    response_header_bytes_max: int
    idle_connections_max: int
    idle_ms: int
    retry_schedule_ms: tuple[int, ...]
    retry_jitter: float
    retry_after_ms_max: int
    breaker_failures: int
    probe_ms_max: int
    share_ms: int
    outcome_rows_max: int
    outcome_wait_ms: int


@dataclass(frozen=True, repr=False)
class MarkerConfig(_Masked):
    """[marker]."""

    batch_chunks_max: int
    workers: int
    pause_ms: int


@dataclass(frozen=True, repr=False)
class RescuerConfig(_Masked):
    """[rescuer]."""

    interval_ms: int
    unsplit_grace_ms: int
    forgotten_grace_ms: int
    feed_interval_ms: int
    feed_rows_max: int


@dataclass(frozen=True, repr=False)
class RuntimeConfig(_Masked):
    """[runtime]."""

    directory_interval_ms: int
    worker_lease_ms: int
    drain_ms: int
    health_host: str
    health_port: int
    log_level: str


@dataclass(frozen=True, repr=False)
class CliConfig(_Masked):
    """[cli]."""

    api_url: str


@dataclass(frozen=True)
class Config:
    """Everything, one field a section."""

    storage: StorageConfig
    queue: QueueConfig
    api: ApiConfig
    maker: MakerConfig
    sender: SenderConfig
    marker: MarkerConfig
    rescuer: RescuerConfig
    runtime: RuntimeConfig
    cli: CliConfig
