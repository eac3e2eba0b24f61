"""The text of a key: sound, unguessable, and not to be made again of what is kept."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomweb_archive.services.keys.text import digest_of, new_key, parse_key


def test_a_new_key_is_known_by_its_text() -> None:
    text, parsed = new_key()
    assert parse_key(text.encode()) == parsed
    assert text.startswith(f"dwa_{parsed.public_id}_")
    assert len(text) == 69


def test_no_two_keys_have_an_id_or_secret_in_common() -> None:
    keys = [new_key()[0].split("_") for _ in range(100)]
    assert len({public_id for _, public_id, _ in keys}) == 100
    assert len({secret for _, _, secret in keys}) == 100


def test_nothing_that_is_kept_or_carried_holds_the_secret() -> None:
    text, parsed = new_key()
    secret = text.rpartition("_")[2].encode()
    for kept in (parsed.share, digest_of(parsed.share)):
        assert len(kept) == 32
        assert kept != hashlib.sha256(secret).digest()
    assert digest_of(parsed.share) != parsed.share


@given(st.binary(max_size=100))
def test_other_bytes_are_no_key(key: bytes) -> None:
    assert parse_key(key) is None


@pytest.mark.parametrize("change", [lambda key: key + b"\n", lambda key: key[:-1], bytes.upper, lambda key: key + b"a"])
def test_a_key_is_taken_as_it_was_given_or_not_at_all(change) -> None:
    assert parse_key(change(new_key()[0].encode())) is None
