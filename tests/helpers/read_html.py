"""An HTML page as a tree, by the standard library; a page that nests wrongly is refused."""

import dataclasses
import html.parser
from collections.abc import Iterator

_EMPTY = {"br", "hr", "img", "input", "link", "meta"}


@dataclasses.dataclass
class Node:
    """An element, with what is in it: nodes and texts."""

    tag: str
    attributes: dict[str, str | None]
    inside: list = dataclasses.field(default_factory=list)

    @property
    def text(self) -> str:
        """All text in it."""
        return "".join(x if isinstance(x, str) else x.text for x in self.inside)

    def all(self, *tags: str, **attributes: str) -> list["Node"]:
        """Elements within, of these tags (or any) and with these attributes."""
        wanted = {key.rstrip("_").replace("_", "-"): x for key, x in attributes.items()}
        return [
            node
            for node in self.walk()
            if (not tags or node.tag in tags)
            and all(node.attributes.get(key) == x for key, x in wanted.items())
        ]

    def walk(self) -> Iterator["Node"]:
        """All elements within, in their order."""
        for node in self.inside:
            if isinstance(node, Node):
                yield node
                yield from node.walk()


class _Reader(html.parser.HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open = [Node("", {})]

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice"
        node = Node(tag, dict(attrs))
        self.open[-1].inside.append(node)
        if tag not in _EMPTY:
            self.open.append(node)

    def handle_endtag(self, tag):
        assert self.open[-1].tag == tag, f"</{tag}> ends <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data):
        self.open[-1].inside.append(data)


def read(text: str) -> Node:
    """The page's root.

    Raises:
      AssertionError: an element is not closed, or another than the innermost is.
    """
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert len(reader.open) == 1, f"<{reader.open[-1].tag}> is never closed"
    return reader.open[0]
