"""``1`` is one batch and ``1.0`` all of them, whichever library has made ``Union[float, int]`` first."""

from typing import Optional, Union

import pytest

from velm_lightning.cli.parsing.parser import Parser


class Loop:
    def __init__(self, limit: Union[float, int, None] = None, share: Union[float, int] = 1.0):  # noqa: UP007
        self.limit, self.share = limit, share


@pytest.fixture
def parser():
    parser = Parser()
    parser.add_class_arguments(Loop, "loop")
    parser.add_argument("--either", type=Union[float, str, int])  # noqa: UP007
    parser.add_argument("--maybe", type=Optional[Union[int, float]])  # noqa: UP007, UP045
    return parser


def test_an_integer_stays_one_from_the_command_line(parser):
    read = parser.parse_args(["--loop.limit=1", "--loop.share=1.0", "--either=2", "--maybe=1"])
    assert [repr(read[name]) for name in ("loop.limit", "loop.share", "either", "maybe")] == ["1", "1.0", "2", "1"]
    assert parser.parse_args(["--either=0.5"]).either == 0.5


def test_an_integer_stays_one_from_a_config(parser):
    read = parser.parse_object({"loop": {"limit": 1, "share": 0.5}})
    assert [repr(read[name]) for name in ("loop.limit", "loop.share")] == ["1", "0.5"]
    assert parser.parse_object({"loop": {"limit": None}}).loop.limit is None
