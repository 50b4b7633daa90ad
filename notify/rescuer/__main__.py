"""`python -m notify.rescuer`."""

from notify.rescuer.service import command
from notify.runtime.command import run_command

run_command(command, prog="python -m notify.rescuer")
