"""Sessions: a token proves that its holder has shown the key, until its time comes, and nothing else does."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomweb_archive.web.sessions import Sessions

NOW = 1_800_000_000.5
LIFETIME = 12 * 3600
SESSIONS = Sessions.of_key("the key", seconds=LIFETIME)


def test_a_session_lasts_as_long_as_it_should() -> None:
    token = SESSIONS.begin(NOW)
    assert SESSIONS.is_valid(token, NOW)
    assert SESSIONS.is_valid(token, NOW + LIFETIME - 1)
    assert not SESSIONS.is_valid(token, NOW + LIFETIME)


def test_every_process_knows_the_sessions_of_the_others() -> None:
    assert Sessions.of_key("the key", seconds=LIFETIME) == SESSIONS


@pytest.mark.parametrize("other", ["another key", "the key ", "the keY", "", "ключ", "\ud7ff"])
def test_a_session_ends_with_its_key(other: str) -> None:
    others = Sessions.of_key(other, seconds=LIFETIME)
    assert not others.is_valid(SESSIONS.begin(NOW), NOW)
    assert not SESSIONS.is_valid(others.begin(NOW), NOW)
    assert others.is_valid(others.begin(NOW), NOW)


def test_clocks_of_processes_may_differ_a_little() -> None:
    assert SESSIONS.is_valid(SESSIONS.begin(NOW), NOW - 30)
    assert not SESSIONS.is_valid(SESSIONS.begin(NOW), NOW - 300)


def test_a_shorter_lifetime_holds_for_sessions_that_have_begun() -> None:
    shorter = Sessions(SESSIONS.secret, 3600)
    assert not shorter.is_valid(SESSIONS.begin(NOW), NOW)
    assert shorter.is_valid(SESSIONS.begin(NOW), NOW + LIFETIME - 3600)


@given(st.data())
def test_a_token_with_any_character_changed_is_none(data: st.DataObject) -> None:
    token = SESSIONS.begin(NOW)
    place = data.draw(st.integers(0, len(token) - 1))
    character = data.draw(st.characters().filter(lambda drawn: drawn != token[place]))
    assert not SESSIONS.is_valid(token[:place] + character + token[place + 1 :], NOW)


@given(st.text())
def test_any_other_text_is_no_token(text: str) -> None:
    assert not SESSIONS.is_valid(text, NOW)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda end, proof: f"{int(end) + 1}.{proof}", id="prolonged"),
        pytest.param(lambda end, proof: f"0{end}.{proof}", id="leading zero"),
        pytest.param(lambda end, proof: f"{end}.{proof.upper()}", id="upper case"),
        pytest.param(lambda end, proof: f"{end}.{proof}\n", id="line end"),
        pytest.param(lambda end, proof: f" {end}.{proof}", id="space"),
        pytest.param(lambda end, proof: f"{end}.{proof}.{proof}", id="longer"),
        pytest.param(lambda end, proof: f"{end}.{proof[:-1]}", id="shorter"),
        pytest.param(lambda end, _: f"{end}.", id="no proof"),
        pytest.param(lambda _, proof: f".{proof}", id="no time"),
        pytest.param(lambda end, _: f"{end}.{hashlib.sha256(end.encode()).hexdigest()}", id="no secret"),
        pytest.param(
            lambda end, proof: "".join(chr(0x0660 + int(digit)) for digit in end) + "." + proof, id="other digits"
        ),
    ],
)
def test_a_token_that_was_tampered_with_is_none(change) -> None:
    assert not SESSIONS.is_valid(change(*SESSIONS.begin(NOW).split(".")), NOW)


def test_neither_key_nor_secret_can_be_read_from_a_token() -> None:
    token = SESSIONS.begin(NOW)
    assert "the key" not in token
    assert SESSIONS.secret.hex() not in token
    assert set(token) <= set("0123456789abcdef.")
