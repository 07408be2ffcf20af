"""Each `dro-jax …` command of README.md and docs is one that the command line takes."""

import pathlib
import re
import shlex

import pytest

from dro_jax.cli import gin_setup, launch_parser
from dro_jax.cli.launched_command import job_of
from dro_jax.cli.main import gin_bindings
from dro_jax.cli.parser import build_parser
from dro_jax.cli.plan_placeholders import PLACEHOLDERS
from dro_jax.cli.sweep_file import read_sweep
from dro_jax.cli.sweep_plan import Planner
from dro_jax.cli.tasks_parser import take_rest
from dro_jax.errors import ConfigError
from dro_jax.launching.common import Common

PAGES = ["README.md", *sorted(map(str, pathlib.Path("docs").glob("*.md")))]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"^cat > (\S+) <<'END'\n(.*?)^END$", re.MULTILINE | re.DOTALL)


def blocks(page, *kinds):
    text = pathlib.Path(page).read_text("utf-8")
    return [block for kind, block in _BLOCK.findall(text) if kind in kinds]


def commands_of(text):
    """The arguments of each `dro-jax` in a block, without prompts and what is around."""
    text = _FILE.sub("", text).replace("\\\n", " ")
    for line in text.splitlines():
        line = re.split(r"\s+#\s", line.removeprefix("$ "))[0]
        for part in re.split(r"\s(?:&&|\|)\s", line):
            if part.startswith("dro-jax ") and not re.search(r"[A-Z] .*\w\|\w", part):
                yield shlex.split(part)[1:]


def check(arguments):
    """Parses; of `train` and `plan` gin files and names too, if the files are there."""
    arguments, launched = launch_parser.split(arguments)
    parsed, rest = build_parser().parse_known_args(arguments)
    if parsed.command == "launch":
        return check_launch(parsed, gin_bindings(rest), launched)
    bindings = gin_bindings(take_rest(parsed, rest))
    files = parsed.gin_file
    ours = all(
        name.startswith("gin_configs/") or pathlib.Path(name).exists() for name in files
    )
    if parsed.command == "sweep" and ours:
        Planner(read_sweep(files, bindings, fast=parsed.fast)).plan()
        return True
    if parsed.command not in ("train", "plan") or not ours:
        return False
    needless = PLACEHOLDERS if parsed.command == "plan" else None
    allowed = parsed.allow_import
    gin_setup.check(files, bindings, allow_imports=allowed, placeholders=needless)
    return True


def check_launch(parsed, bindings, launched):
    """The target's settings, and the command behind `--`; its paths are on the hosts."""
    files = [*launch_parser.target_files(parsed.target), *parsed.gin_file]
    gin_setup.check(files, [*bindings, *launch_parser.settings(parsed)])
    if launched[0] in ("generate", "score"):
        return check(launched)
    job_of(launched, name=parsed.name, common=Common(), elsewhere=("/",), dry_run=True)
    return True


@pytest.fixture
def in_a_folder_of_the_documents(tmp_path, monkeypatch):
    """The files that the pages say to write lie in the current folder."""
    texts = {page: blocks(page, "bash", "sh", "") for page in PAGES}
    for page_texts in texts.values():
        for name, content in _FILE.findall("\n".join(page_texts)):
            (tmp_path / name).write_text(content, "utf-8")
    module = blocks("README.md", "python")[0]
    (tmp_path / "my_tasks.py").write_text(module, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return texts


def test_the_command_line_takes_every_command(in_a_folder_of_the_documents):
    checked = {}
    for page, texts in in_a_folder_of_the_documents.items():
        for arguments in (found for text in texts for found in commands_of(text)):
            try:
                checked.setdefault(page, []).append(check(arguments))
            except (SystemExit, ConfigError) as error:
                pytest.fail(f"{page}: dro-jax {shlex.join(arguments)}: {error}")
    # Those of which the gin files were checked too.
    assert sum(checked["README.md"]) >= 3
    assert sum(checked["docs/tutorial.md"]) == 2
    assert sum(checked["docs/compare.md"]) == 3
    assert len(checked["docs/generate.md"]) >= 3
    assert checked["docs/plan.md"] == [True] * 5
    assert sum(checked["docs/launch.md"]) >= 3


@pytest.mark.parametrize(
    "more", ["--no_such_flag", "--gin.TRAIN_STEP=1", "--gin_file=gin_configs/none.gin"]
)
def test_a_command_of_which_something_is_wrong_is_found(more):
    (first, *_) = [found for text in blocks("README.md", "bash")
                   for found in commands_of(text) if found[0] == "train"]  # fmt: skip
    check(first)
    with pytest.raises((ConfigError, AssertionError)):
        check([*first, more])


@pytest.mark.parametrize(
    "more",
    [
        "--gin.NUM_PROCESS=3 -- train --gin_file=gin_configs/runs/hha_dro_v.gin",
        "-- trains --gin_file=gin_configs/runs/hha_dro_v.gin",
        "-- train --gin_file=gin_configs/runs/hha_dro_v.gin --gin.MODEL=/a",
    ],
)
def test_a_launch_of_which_something_is_wrong_is_found(more):
    with pytest.raises(ConfigError):
        check(["launch", "local", *more.split()])


def test_commands_need_no_word_splitting():
    """zsh does not split what a variable holds, so no command is kept in one."""
    for page in PAGES:
        for text in blocks(page, "bash", "sh"):
            for arguments in commands_of(text):
                assert not any(word.startswith("$") for word in arguments), page
