"""Groups runs that differ only in their seed into methods, and names the methods."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from velm_lightning.compare.reading import RunFolder, differ, is_path, short_class, training_settings

Settings = dict[str, Any]
_SILENT = ("init_args", "class_path", "model", "data", "trainer")


class Method(NamedTuple):
    """Runs of one configuration.

    Attributes:
        name: the fusion, and the settings in which it differs from other methods of the same fusion.
        fusion: the class of the model.
        settings: the settings that differ between any two methods, by dotted key.
        runs: one run per seed, sorted by seed.
        control: whether it receives only the image or only the text.
    """

    name: str
    fusion: str
    settings: Settings
    runs: tuple[RunFolder, ...]
    control: bool

    @property
    def data(self) -> str:
        """The data and the scorer of its figures; see ``RunFolder.data``."""
        return self.runs[0].data


def methods(runs: Sequence[RunFolder], controls: Sequence[str] = ()) -> list[Method]:
    """Group runs by their configuration and by the data that they were evaluated on.

    Args:
        runs: the runs.
        controls: further classes that are controls; runs of one modality always are.
    """
    settings = _without_shared_folders({id(run): training_settings(run) for run in runs})
    differing = [key for key in _keys(settings.values()) if differ(of_run.get(key) for of_run in settings.values())]
    groups: dict[str, list[RunFolder]] = {}
    for run in runs:
        mark = json.dumps([run.data, {key: settings[id(run)].get(key) for key in differing}], default=str)
        groups.setdefault(mark, []).append(run)
    firsts = [group[0] for group in groups.values()]
    names = _names(firsts, settings, differing)
    return [
        Method(
            name=names[id(first)],
            fusion=first.fusion,
            settings={key: settings[id(first)][key] for key in differing if key in settings[id(first)]},
            runs=tuple(sorted(group, key=lambda run: run.seed)),
            control=first.fusion in controls or len(first.record.get("modalities", ("image", "text"))) == 1,
        )
        for first, group in zip(firsts, groups.values(), strict=True)
    ]


def confounders(compared: Sequence[Method]) -> dict[str, Settings]:
    """Return the settings that several fusions have with different values: by key, the value of each fusion.

    They are not part of the fusion, so they may cause a difference in score. Settings that vary within one fusion were
    searched and are left out.
    """
    keys = _keys(method.settings for method in compared)
    mixed: dict[str, Settings] = {}
    for key in keys:
        if key == "model.class_path":
            continue
        values: dict[str, list[Any]] = {}
        for method in compared:
            if key in method.settings:
                values.setdefault(method.fusion, []).append(method.settings[key])
        if len(values) > 1 and not any(differ(of_fusion) for of_fusion in values.values()):
            firsts = {fusion: of_fusion[0] for fusion, of_fusion in values.items()}
            if differ(firsts.values()):
                mixed[key] = firsts
    return mixed


def _keys(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for settings in mappings for key in settings))


def _without_shared_folders(chosen: dict[int, Settings]) -> dict[int, Settings]:
    """Shorten each path to the shortest ending that is unique among the values of its key."""
    for key in _keys(chosen.values()):
        paths = {text for settings in chosen.values() for text in _texts(settings.get(key)) if is_path(text)}
        if paths:
            short = _shortest_ends(paths)
            for settings in chosen.values():
                if key in settings:
                    settings[key] = _replaced(settings[key], short)
    return chosen


def _texts(value: Any) -> list[str]:
    return [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str)]


def _replaced(value: Any, by: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_replaced(item, by) for item in value]
    return by.get(value, value) if isinstance(value, str) else value


def _shortest_ends(paths: Iterable[str]) -> dict[str, str]:
    parts = {path: [part for part in re.split(r"[\\/]+", path) if part] for path in paths}
    length = 1
    while len({tuple(words[-length:]) for words in parts.values()}) < len({tuple(words) for words in parts.values()}):
        length += 1
    return {path: "/".join(words[-length:]) for path, words in parts.items()}


def _names(firsts: Sequence[RunFolder], chosen: Mapping[int, Settings], differing: Sequence[str]) -> dict[int, str]:
    names: dict[int, str] = {}
    for run in firsts:
        settings = chosen[id(run)]
        same = [other for other in firsts if other.fusion == run.fusion]
        apart = [key for key in differing if differ(chosen[id(other)].get(key) for other in same)]
        named = _naming(apart, run, same, chosen)
        words = [
            f"{name}={format_setting(settings[key])}"
            for key, name in short_names(apart).items()
            if key in named and key in settings
        ]
        if differ(other.data for other in same):
            words.append(f"data={data_mark(run)}")
        names[id(run)] = " · ".join([run.fusion, *words])
    return names


def _naming(
    apart: Sequence[str], run: RunFolder, same: Sequence[RunFolder], chosen: Mapping[int, Settings]
) -> set[str]:
    """Return the keys that a name needs: arguments of a part only if they tell it from methods with the same class."""
    chief = [key for key in apart if not any(_follows(key, other) for other in apart)]
    texts = {id(other): [format_setting(chosen[id(other)].get(key)) for key in chief] for other in same}
    peers = [other for other in same if texts[id(other)] == texts[id(run)]]  # classes of two modules read the same
    rest = [key for key in apart if key not in chief and differ(chosen[id(peer)].get(key) for peer in peers)]
    return {*chief, *(_naming(rest, run, peers, chosen) if rest else ())}


def _follows(key: str, other: str) -> bool:
    """Return whether a key is an argument of a part whose class ``other`` is, or the size of weights that it names."""
    part, _, last = other.rpartition(".")
    follower = {"class_path": f"{part}.init_args.", "name": f"{part}.config."}.get(last)
    return follower is not None and key.startswith(follower)


def data_mark(run: RunFolder) -> str:
    """Return the beginning of the fingerprint of a run's data, ``?`` if the record has none."""
    prints = run.record.get("data")
    return str(next(iter(prints.values())))[:6] if isinstance(prints, dict) and prints else "?"


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Return the shortest unique ending of each dotted key."""
    words = {key: [word for word in key.split(".") if word not in _SILENT] or [key] for key in keys}
    short = {}
    for key, parts in words.items():
        lengths = range(1, len(parts) + 1)
        others = [word for other, word in words.items() if other != key]
        fit = next((n for n in lengths if all(other_parts[-n:] != parts[-n:] for other_parts in others)), None)
        short[key] = ".".join(parts[-fit:]) if fit else key
    return short


def format_setting(value: Any) -> str:
    """Return a setting as text: numbers in short form, classes without their module, ``—`` for None."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str) and "." in value and all(word.isidentifier() for word in value.split(".")):
        return short_class(value)
    return "—" if value is None else str(value)
