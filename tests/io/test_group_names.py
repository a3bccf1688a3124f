"""Groups of samples that are parts of other groups."""

import pytest

from velm_lightning.io.groups import belongs, enclosing, group_names


@pytest.mark.parametrize(
    ("groups", "names"),
    [
        (["a / b", "a / c"], ["a", "a / b", "a / c"]),
        (["a / b", "a"], ["a", "a / b"]),
        (["a / b / c", "a / b / d"], ["a / b", "a / b / c", "a / b / d"]),
        (["and / or", "yes/no", ""], ["and / or", "yes/no"]),
    ],
)
def test_a_group_is_named_unless_one_part_has_all_its_samples(groups, names):
    assert group_names(groups) == names


def test_an_empty_part_is_no_group():
    assert [enclosing(group) for group in ("", " / b", "a / ")] == [[], [" / b"], ["a", "a / "]]


def test_a_group_belongs_to_itself_and_to_the_groups_around_it():
    assert [belongs("a / b", to) for to in ("a", "a / b", "a /", "b", "a / b / c")] == [True, True, False, False, False]
