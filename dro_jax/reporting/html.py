"""HTML of which every text is escaped that was not made here."""

import html
import re
from collections.abc import Container, Iterable, Mapping
from typing import Any

# Browsers drop or misread these; each has a picture of its own, as ␀ for NUL.
_CONTROLS = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n\r"}
_CONTROLS[0x7F] = 0x2421
_EMPTY = frozenset(("br", "hr", "input", "link", "meta"))
_NAME = re.compile(r"[a-z][a-z0-9-]*")


class Html(str):
    """Text that is HTML already; any other text is escaped where it is put in one."""

    __slots__ = ()


def text(value: Any) -> Html:
    """A value as HTML: escaped, unless it is HTML; several, one after another."""
    if value is None:
        return Html()
    if isinstance(value, Html):
        return value
    if isinstance(value, Iterable) and not isinstance(value, str):
        return Html("".join(map(text, value)))
    return Html(html.escape(str(value).translate(_CONTROLS), quote=True))


def element(
    tag: str,
    /,
    *children: Any,
    attributes: Mapping[str, Any] | None = None,
    **more: Any,
) -> Html:
    """An element.

    Args:
      tag: its name.
      *children: what is in it, as :func:`text` takes it.
      attributes: by name; True is an attribute without a value, None and False are none.
      **more: likewise; `class_` is `class`, and `_` in a name is `-`.
    """
    given = dict(attributes or {})
    given |= {key.rstrip("_").replace("_", "-"): value for key, value in more.items()}
    written = "".join(
        f" {key}" if value is True else f' {key}="{text(value)}"'
        for key, value in given.items()
        if value is not None and value is not False
    )
    start = f"<{tag}{written}>"
    return Html(start if tag in _EMPTY else f"{start}{text(children)}</{tag}>")


def lines(*parts: Any) -> Html:
    """Parts, each on a line of its own."""
    return Html("\n".join(text(part) for part in parts if part))


def identifier(words: str) -> str:
    """A name for `id`, made of words: letters, digits and hyphens."""
    found = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
    return found if _NAME.fullmatch(found) else f"x-{found}".rstrip("-")


def file_name(words: str, taken: Container[str]) -> str:
    """A name for a file, made of words, which may differ in what no name can hold.

    Args:
      words: as `identifier` takes them.
      taken: names that others have.
    """
    name = identifier(words).replace("-", "_")
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    return found
