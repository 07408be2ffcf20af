"""The documentation as a site: the README, these guides, and a page a module.

Built by `sphinx-build -W docs build/docs` from the repository's top (CONTRIBUTING.md).
"""

import functools
import importlib
import inspect
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
PACKAGE = "dro_jax"
# Files at the top of the repository, and the pages that include them.
TOP = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md"}
# In the order in which a user meets them; the rest follow by name.
FIRST = ("objectives", "models", "data", "training", "evaluation", "interop")
# Programs: their --help and the guides describe them.
LEFT_OUT = ("cli", "benchmarks")

project = "dro_jax"
author = "The dro_jax authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = project

# A name in single backticks is a link where there is such a name, and else code.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 80
myst_heading_anchors = 3
# Tables that pages quote.
exclude_patterns = ["reports"]
# A :func: that leads nowhere is a mistake; types of other packages are not linked.
nitpicky = True
nitpick_ignore_regex = [("py:(obj|class|exc)", "(?s).*")]
# Single backticks hold words of our own as well, which may be parts of several names.
suppress_warnings = ["ref.python"]

_ROLE = re.compile(r":(func|class):`(\w+)`")
_IN_BACKTICKS = re.compile(r"(``[^`]+``|`[^`]+`)")


def setup(app) -> None:
    """Called by Sphinx."""
    app.connect("builder-inited", _write_reference)
    app.connect("autodoc-process-docstring", _as_rst, priority=400)
    app.connect("source-read", lambda app, page, text: _link_within(text, "../"))
    app.connect("include-read", lambda app, file, page, text: _link_within(text, ""))


def _write_reference(app) -> None:
    """Pages of the modules, and one of each folder, in api/, which git ignores."""
    api = Path(app.srcdir) / "api"
    api.mkdir(exist_ok=True)
    pages = _pages()
    for old in api.glob("*.rst"):
        if old.stem not in pages:
            old.unlink()
    for name, lines in pages.items():
        text = "\n".join(lines) + "\n"
        file = api / f"{name}.rst"
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def _pages() -> dict[str, list[str]]:
    pages, titles = {}, []
    for folder, modules in _modules().items():
        title = f"{PACKAGE}.{folder}".rstrip(".")
        titles.append(title)
        inner = [module for module in modules if module != title]
        pages[title] = [*_heading(title), f".. automodule:: {title}", ""]
        pages[title] += [*_exported(title), *_contents(inner)]
        for module in inner:
            pages[module] = [*_heading(module), f".. automodule:: {module}"]
    pages["index"] = [*_heading("API reference"), *_contents(titles)]
    return pages


def _modules() -> dict[str, list[str]]:
    """Public modules by folder; the package's own files last, without a folder."""
    folders: dict[str, list[str]] = {name: [] for name in FIRST}
    top = []
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        module = ".".join(parts).removesuffix(".__init__")
        private = any(part.startswith("_") for part in module.split("."))
        if not private and parts[1] not in LEFT_OUT:
            of = folders.setdefault(parts[1], []) if len(parts) > 2 else top
            of.append(module)
    return {**folders, "": top}


def _exported(package: str) -> list[str]:
    """What a package offers under its own name out of private files, file by file."""
    lines = []
    for name, module in vars(importlib.import_module(package)).items():
        if inspect.ismodule(module) and name.startswith("_"):
            title, *more = inspect.getdoc(module).splitlines()
            title = title.rstrip(".")
            exported = getattr(module, "__all__", ())
            if exported:
                lines += [title, "-" * len(title), ""]
            if exported and more:
                # What the file says of all that is in it; its own name is private.
                lines += [f".. automodule:: {module.__name__}"]
                lines += ["   :no-members:", "   :no-index:", ""]
            kinds = {name: inspect.isclass(getattr(module, name)) for name in exported}
            for member, is_class in sorted(kinds.items(), key=lambda item: item[1]):
                kind = "autoclass" if is_class else "autofunction"
                lines += [f".. {kind}:: {package}.{member}", ""]
    return lines


def _heading(text: str) -> list[str]:
    return [text, "=" * len(text), ""]


def _contents(pages: list[str]) -> list[str]:
    return [".. toctree::", "   :maxdepth: 1", "", *(f"   {page}" for page in pages)]


def _as_rst(app, what, name, thing, options, lines) -> None:
    """Docstrings are written to be read in their files; RST would misread these.

    An indented block is an equation or an example, `Leaf`s is a word, |x| a number.
    """
    text = _ROLE.sub(functools.partial(_in_full, thing), "\n".join(lines))
    paragraphs, literal, last = [], False, " "
    for paragraph in text.split("\n\n"):
        indented = paragraph.startswith("    ")
        # A section of arguments ends indented, so what follows it is no such block.
        begins = indented and not literal and not last.startswith(" ")
        if begins and not last.endswith("::"):
            paragraphs.append("::")
        literal = indented and (literal or begins)
        paragraphs.append(paragraph if literal else _escaped(paragraph))
        last = paragraph.rstrip("\n").rpartition("\n")[2]
    lines[:] = "\n\n".join(paragraphs).split("\n")


def _in_full(thing, role) -> str:
    """A role whose name the thing's file imports, by the name that has a page."""
    file = sys.modules.get(getattr(thing, "__module__", None))
    home = getattr(getattr(file, role[2], None), "__module__", None) or ""
    if file is None or home == file.__name__ or not home.startswith(f"{PACKAGE}."):
        return role[0]
    public = [part for part in home.split(".") if not part.startswith("_")]
    return f":{role[1]}:`{role[2]} <{'.'.join(public)}.{role[2]}>`"


def _escaped(text: str) -> str:
    parts = _IN_BACKTICKS.split(text)
    for i in range(0, len(parts), 2):
        letter_follows = i and re.match(r"\w", parts[i])
        parts[i] = ("\\ " if letter_follows else "") + parts[i].replace("|", r"\|")
    return "".join(parts)


def _link_within(text: list[str], up: str) -> None:
    """Links to files at the top are right on GitHub; here they lead to their pages."""
    for name, to in TOP.items():
        text[0] = text[0].replace(f"]({up}{name}", f"]({to}")
