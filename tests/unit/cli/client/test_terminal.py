"""What others have typed does nothing to a terminal, and loses nothing for a program."""

import json

import httpx
import pytest

from dicomweb_archive.cli.client.connection import Server, UnexpectedAnswerError
from dicomweb_archive.cli.client.json_api import open_api, run_command
from dicomweb_archive.cli.client.terminal import json_text, printable, printing, say

HOSTILE = "\x1b[31m\x9b2J\x85\x7f\u202e\u2028\ud800"
"""Controls of both sets, delete, a turned direction, a line separator, half a letter."""


def test_what_a_terminal_would_obey_is_replaced() -> None:
    assert printable(f"M\u00fcller {HOSTILE}") == "M\u00fcller \ufffd[31m\ufffd2J" + 5 * "\ufffd"
    assert (printable(None), printable(7)) == ("", "7")


def test_wide_and_unbroken_blanks_stay_in_names() -> None:
    name = "\u5c71\u7530^\u592a\u90ce\u3000\u5148\u751f Mme\xa0X"
    assert printable(name) == name


def test_json_escapes_what_is_no_letter_and_means_the_same() -> None:
    document = {"title": f"M\u00fcller \u5c71\u7530 {HOSTILE}"}
    text = json_text(document, indent=1)
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert "M\u00fcller \u5c71\u7530" in text
    assert json.loads(text) == document


def test_lines_stay_lines(capsys: pytest.CaptureFixture[str]) -> None:
    say("one\ntwo\r\x9b2J", err=True)
    assert capsys.readouterr().err == "one\ntwo\ufffd\ufffd2J\n"


def test_bytes_that_come_in_pieces_are_made_printable() -> None:
    written: list[bytes] = []
    write = printing(written.append)
    for byte in "M\u00fc\x9b\r\nx".encode():
        write(bytes([byte]))
    assert b"".join(written).decode() == "M\u00fc\ufffd\nx"


def test_what_a_server_says_of_an_error_does_nothing_to_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(409, json={"title": "No\x9b", "detail": "\x1b[2J"}))
    server = Server("http://archive.example/dicom-web", transport=transport)

    async def work() -> None:
        async with open_api(server) as api:
            await api.get("/submissions")

    with pytest.raises(SystemExit) as left:
        run_command(server, work())
    assert isinstance(left.value.__cause__, UnexpectedAnswerError)
    assert capsys.readouterr().err == "http://archive.example/dicom-web: No\ufffd: \ufffd[2J\n"
