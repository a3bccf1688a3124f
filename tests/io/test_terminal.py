"""Text of users is printed as it is written: never as rich markup, and without control of the terminal."""

import ast
import io
import re
from pathlib import Path

import pytest

import velm_lightning
from velm_lightning.io.console import echo
from velm_lightning.io.terminal import Console, Table, Text

ROOT = Path(velm_lightning.__file__).parent
HOSTILE = [
    "[/b]",
    "[red]",
    "[link=http://evil.example]here[/link]",
    ":skull:",
    "\\[b]",
    "\x1b[2J\x1b]0;title\x07",
    "\u202eabc",
]
HOSTILE += ["\ud800", "\r"]


def printed(*objects):
    console = Console(file=io.StringIO(), width=200)
    console.print(*objects)
    return console.file.getvalue()


def visible(text):
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_text_is_shown_as_it_is_written(text):
    table = Table(text, "b", title=text, caption=text)
    table.add_column(text)
    table.add_row(text, text, text)
    lines = printed(table)
    assert lines.count(visible(text)) == 7
    assert printed(text) == printed(Text(text, style="bold")) == visible(text) + "\n"


def test_numbers_and_styles_are_unchanged():
    assert printed(Text("a", style="bold red"), 3) == "a 3\n"


def test_all_printing_goes_through_this_module():
    """Tables and consoles of rich read strings as markup, so no other module may use them."""
    files = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in ROOT.rglob("*.py")}
    users = {name for name, text in files.items() if re.search(r"^ *(from|import) rich\b", text, re.M)}
    allowed = {"io/terminal.py", "data/features/extraction.py", "data/checks/check.py", "data/images/store.py"}
    assert users <= allowed  # the others draw progress bars with fixed titles


def test_what_is_printed_without_a_table_controls_nothing(capsys):
    echo("a\tb\n\x1b]52;c;Y3VybCBldmls\x07", "\u202e", 1, None)
    assert capsys.readouterr().out == "a\tb\n\ufffd]52;c;Y3VybCBldmls\ufffd \ufffd 1 None\n"


def test_the_package_prints_by_no_other_function():
    """The process that watches a run imports nothing of the package; templates are the user's."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in ROOT.rglob("*.py")
        if "templates" not in path.parts and path.name != "console.py"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Name) and node.id == "print"
    ]
    assert not found
