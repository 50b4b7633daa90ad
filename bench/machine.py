"""Whose figures these are: without it an absolute figure says nothing."""

import os
import platform
import re
import shutil
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path

PATH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"


@dataclass(frozen=True)
class Machine:
    """A machine as it was when a stage was measured on it; load: how busy, before that."""

    cores: int
    cpu: str
    kernel: str
    python: str
    mariadb: str
    redis: str
    load: float


def machine() -> Machine:
    """This machine, now."""
    return Machine(
        cores=os.cpu_count() or 1,
        cpu=_cpu(),
        kernel=f"{platform.system()} {platform.release().split('-')[0]}",
        python=_python(),
        mariadb=_version("mariadbd", r"Ver ([\d.]+)"),
        redis=_version("redis-server", r"v=([\d.]+)"),
        load=round(os.getloadavg()[0], 1),
    )


def _cpu() -> str:
    found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


def _python() -> str:
    """Its version, and what it was compiled with: that moves every figure."""
    flags = f"{sysconfig.get_config_var('OPT') or ''} {sysconfig.get_config_var('CFLAGS') or ''}"
    levels = re.findall(r"-O\d", flags)
    profiled = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    built = f"{levels[-1] if levels else 'no -O'}{', profile-guided' if profiled else ''}"
    return f"{platform.python_version()} ({platform.python_compiler()}, {built})"


def _version(program: str, pattern: str) -> str:
    found = shutil.which(program, path=PATH)
    if found is None:
        return "none"
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
    version = re.search(pattern, said.stdout)
    return version[1] if version else said.stdout.strip()
