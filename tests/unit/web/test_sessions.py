"""Sessions: a token proves that its holder has shown a key, until its time comes, and nothing else does."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomweb_archive.web.sessions import Carried, Sessions

NOW = 1_800_000_000.5
LIFETIME = 12 * 3600
SECRET = bytes(range(32))
SESSIONS = Sessions(SECRET, LIFETIME)
SHOWN = Carried("abcdefgh2345", bytes(range(100, 132)))


def test_a_session_lasts_as_long_as_it_should() -> None:
    token = SESSIONS.begin(*SHOWN, NOW)
    assert SESSIONS.read(token, NOW) == SHOWN
    assert SESSIONS.read(token, NOW + LIFETIME - 1) == SHOWN
    assert SESSIONS.read(token, NOW + LIFETIME) is None


def test_an_archive_knows_no_sessions_of_another() -> None:
    other = Sessions(bytes(32), LIFETIME)
    assert other.read(SESSIONS.begin(*SHOWN, NOW), NOW) is None
    assert other.read(other.begin(*SHOWN, NOW), NOW) == SHOWN


def test_clocks_of_processes_may_differ_a_little() -> None:
    assert SESSIONS.read(SESSIONS.begin(*SHOWN, NOW), NOW - 30) == SHOWN
    assert SESSIONS.read(SESSIONS.begin(*SHOWN, NOW), NOW - 300) is None


def test_a_shorter_lifetime_holds_for_sessions_that_have_begun() -> None:
    shorter = Sessions(SECRET, 3600)
    token = SESSIONS.begin(*SHOWN, NOW)
    assert shorter.read(token, NOW) is None
    assert shorter.read(token, NOW + LIFETIME - 3600) == SHOWN


@given(st.data())
def test_a_token_with_any_character_changed_is_none(data: st.DataObject) -> None:
    token = SESSIONS.begin(*SHOWN, NOW)
    place = data.draw(st.integers(0, len(token) - 1))
    character = data.draw(st.characters().filter(lambda drawn: drawn != token[place]))
    assert SESSIONS.read(token[:place] + character + token[place + 1 :], NOW) is None


@given(st.text())
def test_any_other_text_is_no_token(text: str) -> None:
    assert SESSIONS.read(text, NOW) is None


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda end, *rest: ".".join((str(int(end) + 1), *rest)), id="prolonged"),
        pytest.param(lambda end, *rest: ".".join((f"0{end}", *rest)), id="leading zero"),
        pytest.param(lambda end, _, *rest: ".".join((end, "static", *rest)), id="another key"),
        pytest.param(lambda end, key, _, proof: f"{end}.{key}.{'0' * 64}.{proof}", id="another share"),
        pytest.param(lambda *begin: ".".join(begin[:3]) + f".{begin[3].upper()}", id="upper case"),
        pytest.param(lambda *all_of: ".".join(all_of) + "\n", id="line end"),
        pytest.param(lambda *all_of: " " + ".".join(all_of), id="space"),
        pytest.param(lambda *all_of: ".".join((*all_of, all_of[-1])), id="longer"),
        pytest.param(lambda *all_of: ".".join(all_of)[:-1], id="shorter"),
        pytest.param(lambda *all_of: ".".join(all_of[:3]) + ".", id="no proof"),
        pytest.param(lambda *all_of: ".".join(("", *all_of[1:])), id="no time"),
        pytest.param(
            lambda *all_of: ".".join((*all_of[:3], hashlib.sha256(".".join(all_of[:3]).encode()).hexdigest())),
            id="no secret",
        ),
        pytest.param(
            lambda end, *rest: ".".join(("".join(chr(0x0660 + int(digit)) for digit in end), *rest)), id="other digits"
        ),
    ],
)
def test_a_token_that_was_tampered_with_is_none(change) -> None:
    assert SESSIONS.read(change(*SESSIONS.begin(*SHOWN, NOW).split(".")), NOW) is None


def test_the_secret_cannot_be_read_from_a_token() -> None:
    token = SESSIONS.begin(*SHOWN, NOW)
    assert SECRET.hex() not in token
    assert set(token) <= set("0123456789abcdefgh.")
