"""Targets and messages of webhooks: what may be written to, and how receivers know that it is from us."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import orjson
import pytest

from dicomweb_archive.errors import InvalidParameterError
from dicomweb_archive.wire.webhook_messages import changes_message, format_secret, new_secret
from dicomweb_archive.wire.webhook_targets import AllowedHosts

HOSTS = AllowedHosts.of(
    ("hooks.example.org", "*.example.net", "other.example.org:8443"), ("pacs.local", "10.0.0.7:9000")
)
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("url", "authority", "path"),
    [
        ("https://hooks.example.org", "hooks.example.org", "/"),
        ("https://hooks.example.org:443/in?a=b", "hooks.example.org", "/in?a=b"),
        ("https://a.b.example.net?x", "a.b.example.net", "/?x"),
        ("https://other.example.org:8443/x", "other.example.org:8443", "/x"),
        ("http://pacs.local/x", "pacs.local", "/x"),
        ("https://pacs.local/x", "pacs.local", "/x"),
        ("http://10.0.0.7:9000/", "10.0.0.7:9000", "/"),
    ],
)
def test_a_host_that_is_named_may_be_written_to(url: str, authority: str, path: str) -> None:
    target = HOSTS.target(url)
    assert (target.authority, target.path) == (authority, path)
    assert target.may_be_private is (target.host in ("pacs.local", "10.0.0.7"))


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.org/",
        "https://hooks.example.org:8443/",
        "https://other.example.org/",
        "https://example.net/",
        "https://hooks.example.org.attacker.example/",
        "https://evilexample.net/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "http://10.0.0.7/",
        "https://ann:secret@hooks.example.org/",
        "https://hooks.example.org@attacker.example/",
        "https://hooks.example.org\\@attacker.example/",
        "https://attacker.example#hooks.example.org",
        "https://hooks.example.org/#fragment",
        "https://hooks.example.org/a b",
        "https://hooks.example.org/\r\nx: y",
        "https://hooks.example.org/ä",
        "HTTPS://hooks.example.org/",
        "ftp://hooks.example.org/",
        "//hooks.example.org/",
        "https://hooks.example.org:99999999/",
        "https://hooks.example.org/" + "x" * 2000,
        "",
    ],
)
def test_any_other_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(InvalidParameterError) as refused:
        HOSTS.target(url)
    assert "attacker" not in str(refused.value)
    assert "hooks.example.org/" not in str(refused.value)


def test_nothing_may_be_written_to_unless_somebody_has_named_it() -> None:
    with pytest.raises(InvalidParameterError):
        AllowedHosts().target("https://hooks.example.org/")


def test_a_message_is_signed_as_receivers_libraries_verify_it() -> None:
    secret = new_secret()
    message = changes_message(secret, after=3, end=5, changes=[{"kind": "x", "at": NOW}], next_place="p", now=NOW)
    headers = message.headers(secret, NOW)
    # As the text of the specification says, from what a receiver has.
    key = base64.b64decode(format_secret(secret).removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + message.body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert headers["webhook-timestamp"] == str(int(NOW.timestamp()))
    assert orjson.loads(message.body) == {
        "type": "changes",
        "timestamp": "2026-11-22T12:00:00Z",
        "data": {"changes": [{"kind": "x", "at": "2026-11-22T12:00:00Z"}], "next": "p"},
    }


def test_an_id_stands_for_one_stretch_of_the_feed_of_one_webhook() -> None:
    def id_of(secret: bytes, after: int, end: int) -> str:
        return changes_message(secret, after=after, end=end, changes=[], next_place="", now=NOW).id

    secret = new_secret()
    assert id_of(secret, 3, 5) == id_of(secret, 3, 5)
    assert len({id_of(secret, 3, 5), id_of(secret, 3, 6), id_of(secret, 4, 5), id_of(new_secret(), 3, 5)}) == 4
