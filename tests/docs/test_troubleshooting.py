"""Every message that docs/troubleshooting.md quotes is one that the source can write."""

import ast
import re

from import_graph import ROOT, module_files

PAGE = ROOT / "docs" / "troubleshooting.md"
# Messages of other packages.
FOREIGN = {
    "Timeout (1:00:00)!",
    "RESOURCE_EXHAUSTED: Out of memory",
    (
        "An NVIDIA GPU may be present on this machine, but a CUDA-enabled jaxlib is not "
        "installed"
    ),
    "specifies to tie shared.weight to lm_head.weight, but both are present",
}
_HOLE = "\0"


def quoted():
    """The messages in the page's headings, where `…` stands for what differs."""
    headings = re.findall(r"^### (.+)$", PAGE.read_text("utf-8"), re.MULTILINE)
    return [heading[1:-1] for heading in headings if heading.startswith("`")]


def texts(node):
    """What the strings of a syntax tree say, `_HOLE` standing for each value in them."""
    if isinstance(node, ast.JoinedStr | ast.BinOp) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    ):
        yield said(node)
    if not isinstance(node, ast.JoinedStr):
        for child in ast.iter_child_nodes(node):
            yield from texts(child)


def said(node):
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(said, node.values))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return said(node.left) + said(node.right)
    return _HOLE


def written(message, sources):
    """Whether a source has the fixed parts of a message, one after another."""
    parts = [part for part in message.split("…") if part]
    pattern = re.compile(".*".join(map(re.escape, parts)), re.DOTALL)
    found = (text for text in sources if all(part in text for part in parts))
    return any(map(pattern.search, found))


def test_the_source_writes_every_message():
    sources = {
        text
        for path in module_files("dro_jax", "tasks").values()
        for text in texts(ast.parse(path.read_text("utf-8")))
    }
    messages = set(quoted()) - FOREIGN
    assert len(messages) > 60
    assert sorted(m for m in messages if not written(m, sources)) == []


def test_a_message_that_nothing_writes_is_found():
    source = 'f"MODEL_DIR {folder} is a file: " + advice(f"name {x}") + " or so"'
    sources = set(texts(ast.parse(source)))
    assert written("MODEL_DIR … is a file: …", sources)
    assert written("is a file: … or so", sources)
    assert written("name …", sources)
    assert not written("MODEL_DIR … is no file", sources)
    assert not written("or so … is a file", sources)
