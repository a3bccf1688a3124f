"""The constraint file of the lowest versions follows ``pyproject.toml``."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def extra(name):
    """The requirements of an extra and of the extras of this package that it names."""
    for requirement in map(Requirement, PROJECT["optional-dependencies"][name]):
        if requirement.name == PROJECT["name"]:
            yield from (each for other in requirement.extras for each in extra(other))
        else:
            yield requirement


def test_the_lowest_versions_are_those_of_pyproject():
    lines = (ROOT / "tests" / "constraints" / "lowest.txt").read_text("utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    allowed = [*map(Requirement, PROJECT["dependencies"]), *extra("dev")]
    bounds = {canonicalize_name(each.name): max(Version(bound.version) for bound in each.specifier) for each in allowed}
    assert {name: str(bound) for name, bound in bounds.items() if Version(pinned[name]) != bound} == {}
