"""What docs/architecture.md names is there, and a run goes in the order that it tells."""

import ast
import re

from architecture_page import TEXT, block
from import_graph import ROOT, module_files

PATH = re.compile(r"`((?:dro_jax|gin_configs|tasks|tests|docs)/[\w./-]*)`")
# A pattern, and a name under which a folder is installed.
NOT_FILES = {"dro_jax/cli/NAME_command.py", "dro_jax/gin_configs"}
NAME = re.compile(r"`(dro_jax(?:\.\w+)+)`")


def tree(module):
    return ast.parse(module_files("dro_jax")[module].read_text("utf-8"))


def defined(body):
    """The names that a module or class defines or imports, each with its own body."""
    names = {}
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names[node.name] = node.body
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: [] for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id: [] for target in targets if hasattr(target, "id")}
    return names


def is_there(name):
    """Whether a dotted name is a module, or something defined in one."""
    parts = name.split(".")
    module = next(
        m
        for end in range(len(parts), 0, -1)
        if (m := ".".join(parts[:end])) in module_files("dro_jax")
    )
    body = tree(module).body
    for part in parts[module.count(".") + 1 :]:
        if part not in (names := defined(body)):
            return False
        body = names[part]
    return True


def test_files_and_folders_are_there():
    paths = set(PATH.findall(TEXT)) - NOT_FILES
    assert len(paths) > 30
    assert sorted(path for path in paths if not (ROOT / path).exists()) == []


def test_names_are_there():
    names = set(NAME.findall(TEXT)) - {"dro_jax.tasks"}
    assert len(names) > 15
    assert sorted(name for name in names if not is_there(name)) == []
    assert not is_there("dro_jax.data.tasks.nothing")
    assert not is_there("dro_jax.models.model.FeedbackModel.nothing")


def test_every_folder_has_a_paragraph():
    told = {path.rstrip("/") for path in re.findall(r"- \*\*`(.*?)`\*\*", TEXT)}
    folders = {
        str(path.parent.relative_to(ROOT)) for path in module_files("dro_jax").values()
    }
    assert told == folders - {"dro_jax"}


def test_a_run_goes_in_this_order():
    (run,) = (
        node
        for node in tree("dro_jax.training.train").body
        if isinstance(node, ast.FunctionDef) and node.name == "train_run"
    )
    source = ast.unparse(run)
    told = re.findall(r"^\d\. ((?:`\w+`(?: or )?)+)", block("order"), re.MULTILINE)
    places = [
        min(re.search(rf"\b{name}\(|\b{name}\.", source).start() for name in names)
        for names in (re.findall(r"\w+", step.replace(" or ", " ")) for step in told)
    ]
    assert len(places) == 9
    assert places == sorted(places)
