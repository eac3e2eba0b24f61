"""Where tests keep their files: in memory where there is room, since a disk is half of what they would wait for."""

import os
import shutil
import tempfile
from multiprocessing.util import Finalize
from pathlib import Path

_MEMORY = Path("/dev/shm")
_PREFIX = "dwa-tests-"
# A whole run takes a quarter of it.
_NEEDED_BYTES = 6 * 1024**3


def use_scratch_folder() -> None:
    """Let temporary files be made in a folder in memory, those of child processes too, until this process ends.

    All stays where it is when TMPDIR names a place or there is no room in memory. The folder's name is short, for
    sockets, and other users may pass through it, since root drops to one.
    """
    if "TMPDIR" in os.environ or not _has_room():
        return
    _clear_leftovers()
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=_MEMORY))
    folder.chmod(0o711)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    # After the folder of multiprocessing's own, which lies in it and has the priority -100.
    Finalize(None, shutil.rmtree, args=(folder,), kwargs={"ignore_errors": True}, exitpriority=-101)


def _has_room() -> bool:
    try:
        state = os.statvfs(_MEMORY)
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:
        return False
    available = sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    # Some containers let nothing be run from there, and tests run PostgreSQL from a folder of their own.
    may_run = not state.f_flag & os.ST_NOEXEC
    return may_run and min(state.f_bavail * state.f_frsize, available) >= _NEEDED_BYTES


def _clear_leftovers() -> None:
    """Remove what runs that were killed could not."""
    for left in _MEMORY.glob(f"{_PREFIX}*"):
        owner = left.name.removeprefix(_PREFIX).partition("-")[0]
        if left.lstat().st_uid == os.geteuid() and not Path("/proc", owner).exists():
            shutil.rmtree(left, ignore_errors=True)
