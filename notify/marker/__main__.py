"""`python -m notify.marker`."""

from notify.marker.service import command
from notify.runtime.command import run_command

run_command(command, prog="python -m notify.marker")
