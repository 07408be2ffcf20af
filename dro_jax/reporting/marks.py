"""The marks of a table's column: its best, and what cannot be told apart from it."""

from dro_jax.reporting.html import Html, element

BEST, LEVEL = "best", "level"
_SAID = {BEST: ("★", "best"), LEVEL: ("≈", "not told apart from the best")}


def sign(mark: str | None) -> list[Html] | None:
    """A mark as it stands in a cell, with what is read aloud of it; None for none."""
    if not mark:
        return None
    shown, said = _SAID[mark]
    return [
        element("span", shown, class_="mark", aria_hidden="true"),
        element("span", f" ({said})", class_="unseen"),
    ]
