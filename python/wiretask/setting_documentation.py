"""What the docstrings of the settings say about each, for the help of a command line and for the tests of the pages.

Strategy: the docstrings are written in sections ("Threads:", then "    name: text"), which are read here, so that a
setting is explained in one place. Where Python runs without docstrings (-OO) there is nothing to be read.
Must not know: which settings there are.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterable

__all__ = ["Section", "documented_settings"]

_ITEM = re.compile(r"    ([a-z_0-9]+(?:, [a-z_0-9]+)*): (.*)")


@dataclasses.dataclass(frozen=True)
class Section:
    """Settings that belong together.

    Attributes:
        title: what they are about.
        texts: by name, what each is for, in one line.
    """

    title: str
    texts: dict[str, str]


def documented_settings(cls: type, names: Iterable[str]) -> list[Section]:
    """Return the sections of a class and of the classes it extends, its own first, each setting once.

    Args:
        cls: a class of settings.
        names: which names are settings; other items of the docstrings are left out.
    """
    left = set(names)
    sections: list[Section] = []
    for documented in cls.__mro__:
        for title, texts in _sections_of(documented.__doc__ or ""):
            own = {name: text for name, text in texts.items() if name in left}
            left -= own.keys()
            if own:
                sections.append(Section(title, own))
    return sections


def _sections_of(docstring: str) -> Iterable[tuple[str, dict[str, str]]]:
    title = ""
    texts: dict[str, str] = {}
    current: tuple[str, ...] = ()
    for line in inspect.cleandoc(docstring).splitlines():
        item = _ITEM.fullmatch(line)
        if item:
            current = tuple(item[1].split(", "))
            texts |= dict.fromkeys(current, item[2].strip())
        elif line.startswith("        ") and current:
            texts |= {name: f"{texts[name]} {line.strip()}" for name in current}
        elif not line.startswith(" "):
            if texts:
                yield title, texts
            title, texts, current = line.strip().removesuffix(":"), {}, ()
    if texts:
        yield title, texts
