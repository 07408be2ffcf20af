"""Figures by matplotlib, as pictures in files and as SVG that a page's styles colour."""

import io
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from dro_jax.reporting.html import Html, element, identifier
from dro_jax.reporting.style import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, FAINT = "#1c1d1f", "#5d636b", "#d9dce0"
# What a page's styles call these, to change them in the dark.
_VARIABLES = {
    INK: "ink",
    SOFT: "soft",
    FAINT: "faint",
    **{colour: f"run-{number}" for number, colour in enumerate(COLOURS)},
}
_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "dro_jax",
    "font.size": 10,
    "axes.labelsize": 10,
    "axes.titlesize": 10.5,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.formatter.use_mathtext": False,
    "text.parse_math": False,
    "path.simplify_threshold": 0.3,
}
_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"
_INCH = 72  # units of SVG
_SHORT_NAME = 24  # letters, of which a legend has room for three beside each other
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_LONG = re.compile(r"(-?\d+\.\d)\d+")
_FONT = re.compile(r"font: ?[^;]*?(\d+(?:\.\d+)?)px[^;]*|font-family:[^;]*")


class Canvas:
    """A figure that is being drawn, within `with`; matplotlib's settings are ours.

    Args:
      width, height: units as wide as a pixel of a page at its usual size.
    """

    def __init__(self, width: float, height: float):
        self._size = (width / _INCH, height / _INCH)

    def __enter__(self) -> "Figure":
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self._context = matplotlib.rc_context(_SETTINGS)
        self._context.__enter__()
        figure = Figure(figsize=self._size, layout="constrained")
        FigureCanvasAgg(figure)
        return figure

    def __exit__(self, *error) -> None:
        self._context.__exit__(*error)


def plain(axes: "Axes", grid: str = "both") -> None:
    """Takes away what says nothing, and puts a faint grid behind."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(axis=grid, color=FAINT, linewidth=0.8)
    axes.tick_params(length=3, width=0.8)


def png(figure: "Figure") -> bytes:
    """The figure as a picture on white, for files: by itself, so with a legend."""
    import matplotlib

    file = io.BytesIO()
    with matplotlib.rc_context(_SETTINGS):
        for axes in figure.axes:
            handles, names = axes.get_legend_handles_labels()
            if names and axes.get_legend() is None:
                figure.set_layout_engine("constrained")
                columns = 3 if max(map(len, names)) <= _SHORT_NAME else 2
                figure.legend(
                    handles, names, loc="outside lower center", frameon=False,
                    ncols=min(columns, len(names)), fontsize=8,
                )  # fmt: skip
        figure.savefig(file, format="png", dpi=160, metadata={"Software": None})
    return file.getvalue()


def inline(
    figure: "Figure", name: str, title: str, description: str, *, class_: str = "plot"
) -> Html:
    """The figure as SVG within a page.

    Texts stay texts, colours are the page's variables, and no name in it is another
    figure's.

    Args:
      figure: drawn within a :class:`Canvas`.
      name: of the figure, alone on the page.
      title, description: for those who do not see it.
      class_: of the element.
    """
    import matplotlib

    file = io.BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context(_SETTINGS):
        figure.savefig(file, format="svg", metadata=nothing, transparent=True)
    # All is in its place now: the picture in a file need not ask again.
    figure.set_layout_engine("none")
    root = ElementTree.fromstring(file.getvalue())
    name = f"figure-{identifier(name)}"
    parts = [_as_html(child, name) for child in root if child.tag != f"{_SVG}metadata"]
    width, height = (inches * _INCH for inches in figure.get_size_inches())
    return element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", description, id=f"{name}-desc"),
        *parts,
        class_=class_,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_labelledby=f"{name}-title",
        aria_describedby=f"{name}-desc",
        style=f"--width: {width:g}px",
    )


def _as_html(node: ElementTree.Element, name: str) -> Html:
    tag = node.tag.removeprefix(_SVG)
    if tag == "metadata":
        return Html()
    attributes = {}
    for key, value in node.attrib.items():
        if key == "id":
            # Others are of groups, which nothing refers to.
            if tag in ("path", "clipPath", "g") and _is_referred_to(value):
                attributes["id"] = f"{name}-{value}"
        elif key == _LINK:
            attributes["href"] = f"#{name}-{value.removeprefix('#')}"
        elif key in ("d", "transform", "x", "y"):
            attributes[key] = " ".join(_LONG.sub(r"\1", value).split())
        else:
            attributes[key] = _styled(value, name)
    children = [node.text if node.text and node.text.strip() else "", *(
        _as_html(child, name) for child in node
    )]  # fmt: skip
    return element(tag, *children, attributes=attributes)


def _is_referred_to(identity: str) -> bool:
    """Clips, marks and ticks have names of digests: `p0a1b…`, `m0a1b…`, `C0_0_…`."""
    return re.fullmatch(r"[mpC][0-9a-f_]{8,}.*", identity) is not None


def _styled(value: str, name: str) -> str:
    value = _REFERENCE.sub(rf"url(#{name}-\1)", value)
    value = _FONT.sub(lambda m: f"font-size: {m[1]}px" if m[1] else "", value)
    for colour, variable in _VARIABLES.items():
        value = value.replace(colour, f"var(--{variable})")
    return value
