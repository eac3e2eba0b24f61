"""What our pages name exists: pages and headings, commands, options, targets of make, settings; their code compiles."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import click
import pytest
from tests.conftest import REPOSITORY
from tests.documents import Block, anchors_of, blocks_of, links_of, pages, prose_of, typed_lines

from dicomweb_archive.cli.main import main
from dicomweb_archive.dicom.status import MEANINGS
from dicomweb_archive.settings import Settings

PREFIX = "DICOMWEB_ARCHIVE_"
HELP = {"-h", "--help", "--version"}
ROOMS = r"(?:cli|web|services|index|storage|wire|imaging|dicom)"
# What ends a command in a line of a shell.
ENDS = {"|", "||", "&&", ";", ">", "2>", "<", "&", "options"}
# The comment in a pack.
NO_COMMAND = "dicomweb-archive pack 1"

every_page = pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(REPOSITORY)))


@every_page
def test_every_link_leads_to_something_that_is_there(page: Path) -> None:
    missing = []
    for link in links_of(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / unquote(path)).resolve() if path else page
        is_heading = not anchor or (target.suffix == ".md" and target.is_file() and anchor in anchors_of(target))
        if not (target.exists() and target.is_relative_to(REPOSITORY) and is_heading):
            missing.append(link)
    assert missing == []


@every_page
def test_every_command_and_option_that_is_typed_exists(page: Path) -> None:
    unknown = [f"{line}: {word}" for line in _commands_on(page) for word in _unknown_words(main, _arguments(line))]
    assert unknown == []


@every_page
def test_every_target_of_make_that_is_named_exists(page: Path) -> None:
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    known = set(re.findall(r"^([a-z][a-z0-9-]*):", makefile, re.MULTILINE))
    typed = [line for block in blocks_of(page) for line in typed_lines(block)]
    named = {match[1] for line in [*typed, *_code_spans(page)] if (match := re.match(r"make ([a-z][a-z0-9-]*)", line))}
    assert named - known == set()


def test_every_target_of_make_is_explained_to_contributors() -> None:
    targets = re.findall(r"^([a-z][a-z0-9-]*):.* ## ", (REPOSITORY / "Makefile").read_text("utf-8"), re.MULTILINE)
    explained = (REPOSITORY / "CONTRIBUTING.md").read_text("utf-8")
    assert targets
    assert [target for target in targets if target != "help" and f"| `make {target}` |" not in explained] == []


@every_page
def test_every_module_that_is_named_by_its_room_exists(page: Path) -> None:
    named = [span for span in _code_spans(page) if re.fullmatch(rf"{ROOMS}/[\w/]*(\.py)?", span)]
    house = REPOSITORY / "src" / "dicomweb_archive"
    assert [name for name in named if not ((house / name).exists() or (house / f"{name}.py").exists())] == []


@every_page
def test_every_setting_that_is_named_exists(page: Path) -> None:
    assert _variables_in(page) - _known_variables() == set()


def test_every_setting_that_a_deployment_gives_exists() -> None:
    files = [REPOSITORY / "Dockerfile", REPOSITORY / "Makefile"]
    files += [path for path in (REPOSITORY / "deploy").rglob("*") if path.is_file()]
    named = set().union(*map(_variables_in, files))
    assert named
    assert named - _known_variables() == set()


@pytest.mark.parametrize("block", [block for page in pages() for block in blocks_of(page)], ids=str)
def test_every_block_of_python_compiles(block: Block) -> None:
    if block.language == "python":
        ast.parse(block.text)


def test_the_failure_reasons_that_senders_are_told_of_are_those_of_the_archive() -> None:
    page = (REPOSITORY / "docs" / "howto" / "upload-pipeline.md").read_text("utf-8")
    rows = re.findall(r"^\| ([0-9A-F]{4}) \| (\d+) \|", page, re.MULTILINE)
    assert [f"{int(decimal):04X}" for _, decimal in rows] == [code for code, _ in rows]
    assert {int(decimal) for _, decimal in rows} <= set(MEANINGS)


def test_the_reader_of_pages_finds_what_is_wrong() -> None:
    assert _unknown_words(main, ["store", "folder", "--jobs", "4", "--no-such"]) == ["--no-such"]
    assert _unknown_words(main, ["stroe", "folder"]) == ["stroe"]
    assert _unknown_words(main, ["database", "backup", "file", "--delete"]) == ["--delete"]
    assert _unknown_words(main, ["database", "--data-dir", "x", "check|chekc"]) == ["chekc"]
    assert _unknown_words(main, ["database", "--data-dir", "x", "restore", "y"]) == []
    assert _arguments("X=1 .venv/bin/dicomweb-archive store a [--to URL] | tee log --x") == [
        "store",
        "a",
        "--to",
        "URL",
    ]


def _variables_in(file: Path) -> set[str]:
    return set(re.findall(rf"{PREFIX}([A-Z_]+[A-Z])", file.read_text("utf-8")))


def _known_variables() -> set[str]:
    """Settings, and the other variables that our commands and tests read."""
    sources = [*(REPOSITORY / "src").rglob("*.py"), *(REPOSITORY / "tests").glob("*.py")]
    return {name.upper() for name in Settings.model_fields}.union(*map(_variables_in, sources))


def _commands_on(page: Path) -> Iterator[str]:
    """Give the lines on which our program may be called, in blocks and in code within sentences."""
    yield from (line for block in blocks_of(page) for line in typed_lines(block))
    yield from (span for span in _code_spans(page) if span != NO_COMMAND)


def _code_spans(page: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose_of(page))


def _arguments(line: str) -> list[str]:
    """Return the words behind the name of our program, without the marks of usage lines; none if it is not called."""
    found = re.search(r"(?:^|[ =]|/bin/)dicomweb-archive (?=[a-z\[-])(.*)", line)
    if found is None:
        return []
    words = shlex.split(re.sub(r"[\[\]]|\.\.\.", " ", found[1]).replace("'NAME: VALUE'", "X"))
    end = next((index for index, word in enumerate(words) if word in ENDS), len(words))
    return words[:end]


def _unknown_words(command: click.Command, words: list[str]) -> list[str]:
    """Return the options that a command does not have, and the name of a command that a group does not have."""
    options = {flag: option for option in command.params if isinstance(option, click.Option) for flag in option.opts}
    unknown = []
    rest = iter(words)
    for word in rest:
        flag, equals, _ = word.partition("=")
        if word.startswith("-") and flag not in HELP:
            if flag not in options:
                unknown.append(word)
            elif not (equals or options[flag].is_flag):
                next(rest, None)
        elif isinstance(command, click.Group) and not word.startswith("-"):
            context = click.Context(command)
            found = {name: command.get_command(context, name) for name in word.split("|")}
            unknown += [name for name, each in found.items() if each is None and not name.isupper()]
            (inner, *others) = found.values()
            return unknown if others or inner is None else unknown + _unknown_words(inner, list(rest))
    return [] if command.context_settings.get("ignore_unknown_options") else unknown
