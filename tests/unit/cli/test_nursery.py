"""The nursery and its process, when one of them ends in the middle of a word to the other."""

import asyncio
import socket
from pathlib import Path

from dicomweb_archive.cli import forking
from dicomweb_archive.cli.nursery import Nursery, Worker


async def test_a_report_that_was_cut_short_is_the_end_of_the_nursery() -> None:
    with socket.socket() as listening:
        nursery = Nursery(listening, metrics_folder=Path("unused"))
        expected: asyncio.Future[Worker | None] = asyncio.get_running_loop().create_future()
        nursery._expected.append(expected)
        reports = asyncio.StreamReader()
        reports.feed_data(b'{"pi')
        reports.feed_eof()
        await nursery._read_reports(reports)
        assert await expected is None


def test_a_supervisor_that_has_gone_is_told_nothing_and_orders_nothing() -> None:
    supervisor, connection = socket.socketpair()
    nursery = forking._Nursery(connection, socket.socket())
    # What it has not read is lost, which is more than the end of a conversation.
    connection.sendall(b"unread")
    supervisor.close()
    nursery._report(pid=1)
    assert list(nursery._orders()) == []
    assert not nursery._ordering
    for each in (connection, nursery._wake, nursery._woken):
        each.close()
