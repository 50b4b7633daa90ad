"""Configuration: default.toml < file < environment < flags, as one checked object."""

from notify.config.load import load, read
from notify.config.sections import (
    ApiConfig,
    CliConfig,
    Config,
    MakerConfig,
    MarkerConfig,
    QueueConfig,
    RescuerConfig,
    RuntimeConfig,
    SenderConfig,
    StorageConfig,
)

__all__ = [
    "ApiConfig",
    "CliConfig",
    "Config",
    "MakerConfig",
    "MarkerConfig",
    "QueueConfig",
    "RescuerConfig",
    "RuntimeConfig",
    "SenderConfig",
    "StorageConfig",
    "load",
    "read",
]
