"""Where names go beside the marks of a figure, so that they cover little."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dro_jax.reporting.drawing import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of a letter's size, a line and about a letter.
_HEIGHT, _LETTER = 1.0, 0.6
_SIZE, _SMALL, _MANY = 10.0, 8.0, 10  # points; of more than so many names
_AWAY = 8.0  # points from a mark to its name
_STEPS = 24  # points by which a line stands


class _Box(NamedTuple):
    left: float
    low: float
    right: float
    high: float

    def holds(self, points: np.ndarray) -> int:
        """How many of ``[N, 2]`` points lie within."""
        x, y = points.T
        inside = (self.left < x) & (x < self.right) & (self.low < y) & (y < self.high)
        return int(np.sum(inside))

    def meets(self, other: "_Box") -> bool:
        apart = self.right < other.left or other.right < self.left
        return not (apart or self.high < other.low or other.high < self.low)


def label_marks(
    axes: "Axes",
    names: Sequence[str],
    marks: Sequence[tuple[float, float]],
    lines: Sequence[Sequence[tuple[float, float]]] = (),
) -> None:
    """Writes each name beside its mark, where it covers the least of what is drawn.

    Args:
      axes: with its limits as they will be.
      names: short texts.
      marks: their marks' places.
      lines: what else is drawn, as points that are joined.
    """
    # Only once it is laid out is it known where anything is.
    axes.figure.draw_without_rendering()
    scale = 72 / axes.figure.dpi
    size = _SIZE if len(names) <= _MANY else _SMALL
    places = axes.transData.transform(np.array(marks)) * scale
    drawn = [places, *(_stood_for(axes, line) * scale for line in lines)]
    taken = np.concatenate(drawn)
    frame = _Box(*(axes.bbox.extents * scale))
    placed: list[_Box] = []
    for name, place in zip(names, places, strict=True):
        found = [
            (_cost(box, taken, placed, frame) + 0.1 * n, n, box, offset)
            for n, (offset, box) in enumerate(_candidates(name, place, size))
        ]
        _, _, box, (dx, dy, ha, va) = min(found, key=lambda one: one[:2])
        placed.append(box)
        written = axes.annotate(
            name, marks[len(placed) - 1], xytext=(dx, dy), textcoords="offset points",
            ha=ha, va=va, color=INK, fontsize=size,
        )  # fmt: skip
        written.set_in_layout(False)  # else the axes would shrink, and marks move


def _candidates(name: str, place: np.ndarray, size: float):
    """Offsets and the boxes that the name would fill, the better first."""
    width, height, (x, y) = _LETTER * size * len(name), _HEIGHT * size, place
    for away in (_AWAY, 2 * _AWAY, 3.5 * _AWAY):
        near = 0.6 * away
        for dx, dy in (
            (near, -near), (near, near), (-near, near), (-near, -near),
            (0, away), (0, -away), (away, 0), (-away, 0),
        ):  # fmt: skip
            ha = "left" if dx > 0 else "right" if dx < 0 else "center"
            va = "bottom" if dy > 0 else "top" if dy < 0 else "center"
            left = x + dx - {"left": 0, "right": width, "center": width / 2}[ha]
            low = y + dy - {"bottom": 0, "top": height, "center": height / 2}[va]
            yield (dx, dy, ha, va), _Box(left, low, left + width, low + height)


def _cost(box: _Box, taken: np.ndarray, placed: Sequence[_Box], frame: _Box) -> float:
    outside = (
        box.left < frame.left
        or box.right > frame.right
        or box.low < frame.low
        or box.high > frame.high
    )
    others = sum(box.meets(other) for other in placed)
    return box.holds(taken) + 6 * others + 40 * outside


def _stood_for(axes: "Axes", line: Sequence[tuple[float, float]]) -> np.ndarray:
    """Points along a line, in pixels."""
    corners = axes.transData.transform(np.array(line))
    along = np.linspace(0, len(corners) - 1, _STEPS * max(1, len(corners) - 1))
    at = np.arange(len(corners))
    return np.stack([np.interp(along, at, corners[:, k]) for k in (0, 1)], axis=1)
