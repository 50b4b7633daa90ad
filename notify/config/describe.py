"""The configuration in words."""

from dataclasses import fields

from notify.config.load import ENV_PREFIX
from notify.config.sections import Config


def described(config: Config) -> str:
    """One line an option: environment variable and value; secrets masked."""
    lines = []
    for section in fields(config):
        part = getattr(config, section.name)
        lines.append(f"[{section.name}]")
        for name, shown in part.shown().items():
            variable = f"{ENV_PREFIX}{section.name}__{name}".upper()
            lines.append(f"  {name} = {shown}  ({variable})")
    return "\n".join(lines)
