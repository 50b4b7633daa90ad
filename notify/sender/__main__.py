"""`python -m notify.sender`."""

from notify.runtime.command import run_command
from notify.sender.service import command

run_command(command, prog="python -m notify.sender")
