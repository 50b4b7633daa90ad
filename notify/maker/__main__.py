"""`python -m notify.maker`."""

from notify.maker.service import command
from notify.runtime.command import run_command

run_command(command, prog="python -m notify.maker")
