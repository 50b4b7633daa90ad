"""`notify up` on a disk that is too small, as a process that brings the disk along.

`python small_disk.py mount DIRECTORY up …`: a file system of DISK_BYTES over DIRECTORY, which only
this process sees and which goes with it. All but FREE_BYTES is in the file `ballast`: who
removes that makes room. Exits with NOT_ALLOWED where this user may not mount.
`python small_disk.py limit DIRECTORY up …`: no file may grow beyond FREE_BYTES, until somebody
raises the limit; any user may do that everywhere.
"""

import ctypes
import os
import resource
import sys
from pathlib import Path

from notify import cli

FREE_BYTES = 4 << 20
DISK_BYTES = 64 << 20
BALLAST = "ballast"
NOT_ALLOWED = 77
CLONE_NEWNS = 0x00020000
MS_REC_PRIVATE = 0x4000 | 0x40000


def mount_over(directory: Path) -> None:
    """A small file system in a mount namespace of this process. Raises PermissionError."""
    libc = ctypes.CDLL(None, use_errno=True)

    def succeed(code: int) -> None:
        if code:
            raise OSError(ctypes.get_errno(), f"no small disk over {directory}")

    succeed(libc.unshare(CLONE_NEWNS))
    succeed(libc.mount(b"none", b"/", None, MS_REC_PRIVATE, None))
    size = b"size=%d" % DISK_BYTES
    succeed(libc.mount(b"none", bytes(directory), b"tmpfs", 0, size))
    with (directory / BALLAST).open("wb") as ballast:
        os.posix_fallocate(ballast.fileno(), 0, DISK_BYTES - FREE_BYTES)


if __name__ == "__main__":
    way, directory, *rest = sys.argv[1:]
    Path(directory).mkdir(exist_ok=True)
    if way == "mount":
        try:
            mount_over(Path(directory))
        except PermissionError:
            sys.exit(NOT_ALLOWED)
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (FREE_BYTES, resource.RLIM_INFINITY))
    cli.main(rest)
