"""`python -m notify.api`."""

from notify.api.service import command
from notify.runtime.command import run_command

run_command(command, prog="python -m notify.api")
