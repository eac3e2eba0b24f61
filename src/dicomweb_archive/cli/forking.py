"""The nursery's process: it has read the application, and becomes a worker in each copy of itself that it is asked for.

One thread and no event loop: nothing may run here that a fork would cut in half.
"""

import contextlib
import ctypes
import gc
import os
import selectors
import signal
import socket
import sys
import threading
from collections.abc import Iterator

import orjson

from dicomweb_archive.cli.configuration import decode_settings
from dicomweb_archive.settings import Settings

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15

# Whoever signals all processes at once means the workers; we end after the last of them.
_LEFT_TO_WORKERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Nursery:
    """Takes orders over a connection, a line of settings each, and reports there which worker began and which ended."""

    def __init__(self, connection: socket.socket, listening_socket: socket.socket) -> None:
        self._connection = connection
        self._listening_socket = listening_socket
        self._received = bytearray()
        self._ordering = True
        self._living: set[int] = set()
        self._wake, self._woken = socket.socketpair()

    def wait(self) -> Settings | None:
        """Fork a worker for each order, until no order comes any more and the last worker has ended.

        Returns:
            In each worker its settings; in the nursery, at the end, `None`.
        """
        self._listen_to_children()
        with selectors.DefaultSelector() as selector:
            selector.register(self._connection, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            while self._ordering or self._living:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._wake in ready:
                    self._wake.recv(4096)
                    self._bury()
                if self._connection not in ready:
                    continue
                for order in self._orders():
                    if self._fork():
                        return decode_settings(order)
                if not self._ordering:
                    selector.unregister(self._connection)
        return None

    def _listen_to_children(self) -> None:
        """Let the end of a child be something to read, and signals to all something that concerns the children."""
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        signal.set_wakeup_fd(self._woken.fileno())
        # Without a handler nothing would be written.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # Blocked and not ignored: what is sent to a worker just forked waits until it listens.
        signal.pthread_sigmask(signal.SIG_BLOCK, _LEFT_TO_WORKERS)

    def _orders(self) -> Iterator[bytes]:
        received = b""
        # A supervisor that was killed may leave what it had not read: that is its end, too.
        with contextlib.suppress(ConnectionError):
            received = self._connection.recv(65_536)
        if not received:
            self._ordering = False
            # The port must not be kept open by us while the workers finish.
            self._listening_socket.close()
        self._received += received
        while (end := self._received.find(b"\n")) >= 0:
            order = bytes(self._received[:end])
            del self._received[: end + 1]
            yield order

    def _fork(self) -> bool:
        """Fork, and tell whether this is the child now."""
        pid = os.fork()
        if pid:
            self._living.add(pid)
            self._report(pid=pid)
            return False
        # A group of its own, for whatever it starts.
        os.setsid()
        for ours in (self._connection, self._wake, self._woken):
            ours.close()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _LEFT_TO_WORKERS)
        return True

    def _bury(self) -> None:
        for pid in tuple(self._living):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                # Whatever the worker has started is in its group.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)
                self._living.discard(pid)
                self._report(pid=pid, status=os.waitstatus_to_exitcode(status))

    def _report(self, **facts: int) -> None:
        # A supervisor that stops need not listen to the end.
        with contextlib.suppress(ConnectionError):
            self._connection.sendall(orjson.dumps(facts) + b"\n")


def main(arguments: list[str]) -> None:
    """Take the numbers of two descriptors: of the connection to the supervisor, and of the listening socket."""
    _name_process("archive-nursery")
    _die_with_parent()
    connection, listening_socket = (socket.socket(fileno=int(number)) for number in arguments[1:])
    # Nothing of what is read is garbage: looking for some takes a fifth of the time, and would later give each worker
    # a copy of all of it.
    gc.disable()
    from dicomweb_archive.cli.worker import run

    gc.freeze()
    gc.enable()
    settings = _Nursery(connection, listening_socket).wait()
    if settings is not None:
        _name_process("archive-worker")
        _die_with_supervisor()
        run(listening_socket, settings)


def _name_process(name: str) -> None:
    """Show a name of at most 15 characters in lists of processes, where the system has such names."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)


def _die_with_parent() -> None:
    """Let the kernel end this process with the one that has started it, even when it is stuck; on Linux alone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _die_with_supervisor() -> None:
    """Make sure that this process does not outlive the supervisor, however that one ends.

    On Linux the kernel sees to it: the nursery dies with the supervisor, and this process with the nursery.
    Everywhere, a thread watches the pipe that only the supervisor can write to, and takes along what this process
    has started.
    """
    _die_with_parent()
    threading.Thread(target=_watch_pipe, name="supervisor-watch", daemon=True).start()


def _watch_pipe() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    # This process is the leader of its group.
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv)
