"""The archive's commands, each in a process of its own as on a command line, but without the time of its start.

The process is forked from one that has the program loaded already: that takes some milliseconds instead of a second.
"""

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from subprocess import CompletedProcess

from dicomweb_archive.cli.main import main

_SECONDS = 100


def type_command(*words: str, folder: Path, environment: Mapping[str, str]) -> CompletedProcess[str]:
    """Type a command of the archive in a folder, with exactly these environment variables, and wait for its end."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([f"dicomweb_archive.cli.{name}" for name in ("client", "database", "keys")])
    with tempfile.TemporaryDirectory(prefix="typed-") as printed:
        process = context.Process(target=_run, args=(words, str(folder), dict(environment), printed))
        process.start()
        process.join(_SECONDS)
        if process.exitcode is None:
            process.kill()
            process.join()
        status = process.exitcode
        process.close()
        assert status is not None
        said, complained = (Path(printed, name).read_text() for name in ("stdout", "stderr"))
    return CompletedProcess(words, status, said, complained)


def _run(words: tuple[str, ...], folder: str, environment: dict[str, str], printed: str) -> None:
    os.environ.clear()
    os.environ.update(environment)
    for stream in (sys.stdout, sys.stderr):
        descriptor = os.open(Path(printed, stream.name.strip("<>")), os.O_WRONLY | os.O_CREAT)
        os.dup2(descriptor, stream.fileno())
        os.close(descriptor)
    os.chdir(folder)
    sys.argv = ["dicomweb-archive", *words]
    main(prog_name="dicomweb-archive")
