"""docs/options.md has every setting, with its default and what the docstrings say about it.

`python tests/unit/test_option_documentation.py` writes the tables anew.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from wiretask.setting_documentation import documented_settings
from wiretask.wsgi import WSGIAdjustments

DOCUMENT = Path(__file__).parents[2] / "docs/options.md"
TABLES = re.compile(r"(?<=<!-- settings -->\n).*(?=<!-- end -->)", re.DOTALL)


def tables() -> str:
    """The tables of the document, as they have to be."""
    defaults = {field.name: _shown(field.name, field.default) for field in dataclasses.fields(WSGIAdjustments)}
    text = ""
    for section in documented_settings(WSGIAdjustments, defaults):
        text += f"\n## {section.title}\n\n| setting | default | |\n|---|---|---|\n"
        text += "".join(
            f"| `{name}` | `{defaults[name]}` | {_cell(said)} |\n" for name, said in section.texts.items()
        )
    return f"{text}\n"


def _shown(name: str, default: object) -> str:
    if name == "socket_options":
        return "TCP_NODELAY"
    if name == "unix_socket_perms":
        return oct(int(str(default)))
    if isinstance(default, frozenset):
        return "()"
    return (
        repr(default) if isinstance(default, str) else f"{default:g}" if isinstance(default, float) else str(default)
    )


def _cell(text: str) -> str:
    return (
        re.sub(r"(?<![`\w])([a-z]+(?:_[a-z]+)+)(?![`\w(])", r"`\1`", text).replace("|", "\\|").replace("**", "\\*\\*")
    )


def test_the_document_has_every_setting_as_it_is() -> None:
    found = TABLES.search(DOCUMENT.read_text())
    assert found
    assert found[0] == tables()
    names = {field.name for field in dataclasses.fields(WSGIAdjustments)}
    assert names == set(re.findall(r"^\| `(\w+)` \|", found[0], re.MULTILINE))


if __name__ == "__main__":
    new_tables = tables()
    DOCUMENT.write_text(TABLES.sub(lambda found: new_tables, DOCUMENT.read_text()))
