"""Webhooks: each change arrives at least once and in order, at allowed addresses and nowhere else."""

import logging
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.listening import Handle, listening

from dicomweb_archive.index.access import ARCHIVE_SPACE
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.events.feed import FeedIndex
from dicomweb_archive.index.events.sealing import Sealer
from dicomweb_archive.index.events.webhooks import NewWebhook, Webhook, WebhookIndex, WebhookState
from dicomweb_archive.index.writing.events import EventKind, insert_event
from dicomweb_archive.services.webhooks.delivery import CHANGES_IN_A_MESSAGE, DeliveryService
from dicomweb_archive.services.webhooks.sending import Answer, Post, is_allowed_address, open_target
from dicomweb_archive.wire.webhook_targets import AllowedHosts, WebhookTarget

HOSTS = AllowedHosts.of(("hooks.example.org",), ())
URL = "https://hooks.example.org/in"


@dataclass
class Receiver:
    """Stands for the targets: what they were sent, and what they answer."""

    answers: list[Answer] = field(default_factory=list)
    taken: list[tuple[str, Any]] = field(default_factory=list)
    refused: list[tuple[str, Any]] = field(default_factory=list)

    @asynccontextmanager
    async def __call__(self, target: WebhookTarget) -> AsyncIterator[Post]:
        async def post(body: bytes, headers: Mapping[str, str]) -> Answer:
            answer = self.answers.pop(0) if self.answers else Answer()
            kept = self.taken if answer.problem is None else self.refused
            kept.append((headers["webhook-id"], orjson.loads(body)))
            return answer

        yield post

    def studies(self) -> list[str]:
        return [change["study_instance_uid"] for _, body in self.taken for change in body["data"]["changes"]]


@dataclass
class Bench:
    """A feed, a webhook on it, and what delivers."""

    database: Database
    receiver: Receiver
    index: WebhookIndex
    delivery: DeliveryService

    async def happen(self, *studies: str, collection: int = 1) -> None:
        async with self.database.transaction() as connection:
            for uid in studies:
                await insert_event(
                    connection,
                    EventKind.STUDY_PUBLISHED,
                    actor="tester",
                    space_id=ARCHIVE_SPACE,
                    study_instance_uid=uid,
                    detail={"instances": 1},
                    collection_id=collection,
                )
        await Sealer(self.database).seal()

    async def make(self, *, accessions: tuple[str, ...] | None = None) -> None:
        new = NewWebhook("hook", URL, "hooks.example.org", b"secret", accessions, 0)
        await self.index.create(new, None, actor="tester")

    async def webhook(self) -> Webhook:
        (found,) = await self.index.listed(None)
        return found

    async def round(self) -> None:
        """Deliver as if every pause were over."""
        async with self.database.connection() as connection:
            await connection.execute("update webhook set next_attempt_at = now()")
        await self.delivery.deliver()


@pytest.fixture
def bench(database: Database) -> Bench:
    receiver, index = Receiver(), WebhookIndex(database)
    return Bench(database, receiver, index, DeliveryService(index, FeedIndex(database), HOSTS, receiver, 4))


async def test_changes_arrive_in_order_in_messages_of_bounded_length(bench: Bench) -> None:
    uids = [f"1.{number}" for number in range(CHANGES_IN_A_MESSAGE + 1)]
    await bench.happen(*uids)
    await bench.make()
    assert await bench.delivery.deliver() == {"webhooks": 1, "messages": 2}
    assert bench.receiver.studies() == uids
    first, second = (body for _, body in bench.receiver.taken)
    assert first["data"]["next"] == first["data"]["changes"][-1]["place"] != second["data"]["next"]
    webhook = await bench.webhook()
    assert (webhook.position, webhook.sending_to, webhook.failures) == (CHANGES_IN_A_MESSAGE + 1, None, 0)
    assert await bench.delivery.deliver() == {"webhooks": 0, "messages": 0}
    await bench.happen("2.1")
    await bench.delivery.deliver()
    assert bench.receiver.studies()[-1] == "2.1"


async def test_what_was_not_taken_is_sent_again_as_the_same_message(bench: Bench) -> None:
    await bench.happen("1.1", "1.2")
    await bench.make()
    bench.receiver.answers = [Answer("it answered 500"), Answer("it answered 503", 900.0)]
    await bench.delivery.deliver()
    failing = await bench.webhook()
    assert (failing.failures, failing.problem, failing.state) == (1, "it answered 500", WebhookState.ACTIVE)
    # What happens meanwhile comes in a message of its own: a receiver goes by the id.
    await bench.happen("1.3")
    # Not before its pause is over.
    assert await bench.delivery.deliver() == {"webhooks": 0, "messages": 0}
    await bench.round()
    later = (await bench.webhook()).next_attempt_at
    async with bench.database.connection() as connection:
        # As the target has asked, and not after the ten seconds that would be due.
        assert await connection.fetchval("select $1 > now() + interval '10 minutes'", later)
    await bench.round()
    assert bench.receiver.studies() == ["1.1", "1.2", "1.3"]
    ids = [message_id for message_id, _ in bench.receiver.refused]
    assert ids == [bench.receiver.taken[0][0]] * 2
    assert [len(body["data"]["changes"]) for _, body in bench.receiver.refused] == [2, 2]
    healed = await bench.webhook()
    assert (healed.failures, healed.problem) == (0, None)
    assert healed.delivered_at is not None


async def test_a_webhook_dies_of_failures_and_is_revived_without_a_gap(bench: Bench) -> None:
    await bench.happen("1.1")
    await bench.make()
    bench.receiver.answers = [Answer("it could not be reached")] * 4
    for _ in range(4):
        await bench.round()
    assert (await bench.webhook()).state is WebhookState.DEAD
    await bench.happen("1.2")
    await bench.round()
    assert bench.receiver.taken == []
    await bench.index.revive(None, "hook", actor="tester")
    await bench.round()
    assert bench.receiver.studies() == ["1.1", "1.2"]
    # One that says that it is gone is asked no more.
    bench.receiver.answers = [Answer("it answered 410", is_gone=True)]
    await bench.happen("1.3")
    await bench.round()
    assert (await bench.webhook()).state is WebhookState.DEAD
    async with bench.database.connection() as connection:
        kinds = await connection.fetch("select kind from event where kind like 'webhook%' order by id")
    assert [row["kind"] for row in kinds] == [
        "webhook_created",
        "webhook_died",
        "webhook_revived",
        "webhook_died",
    ]


async def test_only_changes_of_its_collections_are_sent(bench: Bench) -> None:
    async with bench.database.transaction() as connection:
        statement = "insert into collection (accession, title, access) values ('COL-1', 'x', 'restricted') returning id"
        other = await connection.fetchval(statement)
    await bench.make(accessions=("COL-1",))
    await bench.happen("1.1")
    before = (await bench.webhook()).next_attempt_at
    assert await bench.delivery.deliver() == {"webhooks": 1, "messages": 0}
    # What is not for it is not looked at again, and that was its turn: those with more to do come before it.
    passed = await bench.webhook()
    assert (passed.position, passed.next_attempt_at > before) == (1, True)
    await bench.happen("1.2", collection=other)
    await bench.happen("1.3")
    await bench.delivery.deliver()
    assert bench.receiver.studies() == ["1.2"]
    assert bench.receiver.taken[0][1]["data"]["changes"][0]["collection"] == "COL-1"


async def test_a_host_that_is_allowed_no_longer_gets_nothing_more(bench: Bench) -> None:
    await bench.happen("1.1")
    await bench.make()
    await DeliveryService(bench.index, bench.delivery.feed, AllowedHosts(), bench.receiver, 4).deliver()
    assert bench.receiver.taken == []
    assert "not allowed" in str((await bench.webhook()).problem)


async def test_what_goes_wrong_with_one_webhook_keeps_nothing_from_another(bench: Bench) -> None:
    @asynccontextmanager
    async def sender(target: WebhookTarget) -> AsyncIterator[Post]:
        if target.path == "/broken":
            message = "a bug"
            raise RuntimeError(message)
        async with bench.receiver(target) as post:
            yield post

    await bench.happen("1.1")
    broken = NewWebhook("broken", "https://hooks.example.org/broken", "hooks.example.org", b"secret", None, 0)
    await bench.index.create(broken, None, actor="tester")
    await bench.make()
    with pytest.raises(RuntimeError, match="a bug"):
        await DeliveryService(bench.index, bench.delivery.feed, HOSTS, sender, 4).deliver()
    assert bench.receiver.studies() == ["1.1"]


async def test_a_bug_counts_as_a_failure_so_that_nothing_is_tried_for_ever(bench: Bench) -> None:
    @asynccontextmanager
    async def sender(target: WebhookTarget) -> AsyncIterator[Post]:
        async def post(body: bytes, headers: Mapping[str, str]) -> Answer:
            message = "a bug"
            raise RuntimeError(message)

        yield post

    await bench.happen("1.1")
    await bench.make()
    # The pause would be longer than a number can say, were it not bounded.
    async with bench.database.connection() as connection:
        await connection.execute("update webhook set failures = 2000")
    await DeliveryService(bench.index, bench.delivery.feed, HOSTS, sender, 9999).deliver()
    failing = await bench.webhook()
    assert (failing.failures, failing.problem) == (2001, "unexpected: RuntimeError")


@pytest.mark.parametrize(
    ("address", "public", "private"),
    [
        ("93.184.215.14", True, True),
        ("2606:2800:21f:cb07::1", True, True),
        ("10.0.0.1", False, True),
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("fd00::1", False, True),
        ("::ffff:10.0.0.1", False, True),
        ("100.64.0.1", False, True),
        ("64:ff9b:1::a00:1", False, True),
        ("::a00:1", False, True),
        ("64:ff9b::a00:1", False, True),
        ("2002:a00:1::", False, True),
        ("169.254.169.254", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("fe80::1", False, False),
        ("0.0.0.0", False, False),
        ("224.0.0.1", False, False),
        ("ff02::1", False, False),
    ],
)
def test_addresses_of_ones_own_network_are_written_to_only_where_that_is_said(
    address: str, public: bool, private: bool
) -> None:
    assert is_allowed_address(address, may_be_private=False) is public
    assert is_allowed_address(address, may_be_private=True) is private


async def knows(*addresses: str) -> Sequence[str]:
    return addresses


def answering(status: str, *headers: str) -> Handle:
    text = "\r\n".join((f"HTTP/1.1 {status}", "content-length: 0", "connection: close", *headers))
    return lambda request: f"{text}\r\n\r\n".encode()


async def post_to(port: int, *addresses: str, may_be_private: bool = True, timeout_seconds: float = 15) -> Answer:
    target = WebhookTarget("http", "receiver.example", port, "/in?a=b", may_be_private)
    resolve = lambda host, port: knows(*addresses)  # noqa: E731
    async with open_target(target, resolve=resolve, timeout_seconds=timeout_seconds) as post:
        return await post(b"{}", {"content-type": "application/json"})


async def test_a_message_goes_to_the_address_that_was_looked_at_under_the_name(bench: Bench) -> None:
    requests: list[bytes] = []

    def handle(request: bytes) -> bytes:
        requests.append(request)
        return b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"

    async with listening(handle) as port:
        assert await post_to(port, "127.0.0.1") == Answer()
        (request,) = requests
        assert request.startswith(b"POST /in?a=b HTTP/1.1\r\n")
        assert f"host: receiver.example:{port}".encode() in request.lower()
        assert request.endswith(b"\r\n\r\n{}")
        # A private address among public ones, or where none is allowed: nothing is sent at all.
        for addresses, may_be_private in (
            (("127.0.0.1",), False),
            (("127.0.0.1", "169.254.169.254"), True),
            ((), True),
        ):
            refused = await post_to(port, *addresses, may_be_private=may_be_private)
            assert refused.problem == "its name leads to an address that is not allowed"
        assert len(requests) == 1


@pytest.mark.parametrize(
    ("handle", "expected"),
    [
        (
            answering("302 Found", "location: http://127.0.0.1/"),
            Answer("it answered 302, and redirects are not followed"),
        ),
        (answering("500 Oh"), Answer("it answered 500")),
        (answering("503 Later", "retry-after: 120"), Answer("it answered 503", 120.0)),
        (answering("429 Later", "retry-after: Mon, 1 Jan 2035"), Answer("it answered 429")),
        (answering("410 Gone"), Answer("it answered 410", is_gone=True)),
        (lambda request: b"220 smtp ready\r\n", Answer("what it answered is not HTTP")),
        # Places that are none are not looked at either.
        (answering("302 Found", "location: mailto:x"), Answer("it answered 302, and redirects are not followed")),
        (
            answering("302 Found", "location: http://xn--zz--/"),
            Answer("it answered 302, and redirects are not followed"),
        ),
    ],
)
async def test_what_a_target_answers_is_understood(handle: Handle, expected: Answer) -> None:
    async with listening(handle) as port:
        assert await post_to(port, "127.0.0.1") == expected


async def test_a_name_that_can_be_none_is_not_known() -> None:
    target = WebhookTarget("https", f"{'a' * 64}.example.net", 443, "/", False)
    async with open_target(target) as post:
        assert await post(b"{}", {}) == Answer("its name is not known")


async def test_the_url_of_a_target_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    # What lets one in at the target often stands in its path or query.
    caplog.set_level(logging.INFO)
    async with listening(answering("200 OK")) as port:
        assert await post_to(port, "127.0.0.1") == Answer()
    assert "a=b" not in caplog.text


async def test_a_certificate_has_to_be_that_of_the_name_and_not_of_the_address() -> None:
    certificate = Path(__file__).parents[1] / "data" / "receiver.pem"
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    trust = ssl.create_default_context(cafile=str(certificate))

    async def post(host: str) -> Answer:
        target = WebhookTarget("https", host, port, "/", True)
        async with open_target(target, resolve=lambda host, port: knows("127.0.0.1"), trust=trust) as send:
            return await send(b"{}", {})

    async with listening(answering("200 OK"), tls=tls) as port:
        assert await post("receiver.example") == Answer()
        assert (await post("other.example")).problem == "it could not be reached"


async def test_a_target_that_is_silent_or_away_is_given_up() -> None:
    async with listening(lambda request: None) as port:
        silent = await post_to(port, "127.0.0.1", timeout_seconds=0.2)
    assert silent.problem == "it did not answer within 0.2 seconds"
    assert (await post_to(port, "127.0.0.1")).problem == "it could not be reached"
