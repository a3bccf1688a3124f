"""A text is drawn by fonts that have its characters, or one warning names some of those that none has."""

import pytest
from matplotlib import font_manager

from velm_lightning.inspection import fonts
from velm_lightning.inspection.fonts import DEFAULT, families

STIX = font_manager.findfont("STIXGeneral")  # comes with matplotlib


@pytest.fixture
def installed(monkeypatch):
    """A function that leaves only some of the installed fonts, and the default."""
    monkeypatch.setattr(fonts, "_warned", set())

    def only(*names):
        entries = [font for font in font_manager.fontManager.ttflist if font.name in (DEFAULT, *names)]
        monkeypatch.setattr(font_manager.fontManager, "ttflist", entries)

    return only


def test_the_default_font_is_enough_for_most_texts(installed, caplog):
    installed()
    assert families("ein größerer Hund, 12 €, собака") == [DEFAULT]
    assert not caplog.records


def test_an_installed_font_draws_what_the_default_lacks(installed, caplog):
    installed("STIXGeneral")
    other = fonts._characters(STIX) - fonts._characters(font_manager.findfont(DEFAULT))
    char = min(char for char in other if char.isprintable())
    assert families(f"a {char}") == [DEFAULT, "STIXGeneral"]
    assert not caplog.records


def test_characters_without_a_font_are_named_once(installed, caplog):
    installed("STIXGeneral")
    assert families("一只狗") == families("犬") == [DEFAULT]
    (warning,) = caplog.messages
    assert warning.startswith("no installed font has characters such as 一只狗, which are drawn as boxes: install one")
