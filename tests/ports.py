"""Ports for programs that must be told theirs beforehand."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


@contextmanager
def reserved_ports(count: int) -> Iterator[list[int]]:
    """Take ports, and keep others from taking them until they are listened on.

    A socket that is bound and does not listen keeps a port from being chosen for somebody's connection, and lets a
    server, which may share the address as well (SO_REUSEADDR), listen on it.
    """
    with ExitStack() as stack:
        holders = [stack.enter_context(socket.socket()) for _ in range(count)]
        for holder in holders:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind(("127.0.0.1", 0))
        yield [holder.getsockname()[1] for holder in holders]
