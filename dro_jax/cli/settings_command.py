"""`dro-jax settings`: every setting of the gin files, its default and what it means."""

import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

from dro_jax.shipped_names import FOLDER

# What a run is composed of; other files set these names to other values.
_FILES = (
    "runs/train.gin",
    "evaluation/sampled.gin",
    "samples/*.gin",
    "models/t5_1_1.gin",
    "tasks/jsonl.gin",
    "tasks/support_desk_log.gin",
    "objectives/*.gin",
    "rewards/*.gin",
    "judges/*.gin",
    "launch/*.gin",
)
_HEAD = """\
# Settings

Each is set by `--gin.NAME=VALUE`, or by a line `NAME = VALUE` in a gin file. `dro-jax
settings` prints this page from the gin files that it ships; what is not here is set by its
full name, as `--gin.t5_config.T5Config.emb_dim=64`.
"""
_BOUND = re.compile(r"(?P<name>[A-Z][A-Z0-9_]*) = (?P<value>.*?)(\s+# (?P<text>.*))?")
_REQUIRED = re.compile(r"# (?P<name>[A-Z][A-Z0-9_]*): (?P<text>.*)")
# What the files make of these is no default.
_COMPOSED = ("MODEL", "OBJECTIVE", "VALUE", "TARGET", "COMMON")
# Nor of these, which a run leaves out unless a file makes one.
_MADE = ("JUDGE", "REWARD")


class Setting(NamedTuple):
    """One name as one file has it."""

    name: str
    default: str
    meaning: str
    file: str


def run(arguments) -> None:
    """Print the page."""
    del arguments
    print(page(), end="")


def page() -> str:
    """The page in Markdown."""
    lines = [_HEAD]
    for pattern in _FILES:
        lines += [f"## `gin_configs/{pattern}`\n", *_table(pattern), ""]
    return "\n".join(lines).rstrip() + "\n"


def settings(pattern: str) -> list[Setting]:
    """The settings of the files of a pattern, in their order."""
    folder = FOLDER / "gin_configs"
    return [
        setting
        for path in sorted(folder.glob(pattern))
        for setting in _of_file(path, path.relative_to(folder).as_posix())
    ]


def _table(pattern: str) -> Iterator[str]:
    found = settings(pattern)
    several = "*" in pattern
    yield f"| setting | default | meaning |{' file |' if several else ''}"
    yield f"| --- | --- | --- |{' --- |' if several else ''}"
    merged: dict[Setting, list[str]] = {}
    for setting in sorted(found) if several else found:
        file = pathlib.PurePath(setting.file).stem
        merged.setdefault(setting._replace(file=""), []).append(f"`{file}`")
    for setting, files in merged.items():
        row = f"| `{setting.name}` | {setting.default} | {setting.meaning} |"
        yield row + (f" {', '.join(files)} |" if several else "")


def _of_file(path: pathlib.Path, name: str) -> Iterator[Setting]:
    above: list[str] = []
    _, *lines = path.read_text("utf-8").splitlines()  # the first is a title
    for line in lines:
        if match := _REQUIRED.fullmatch(line):
            yield Setting(match["name"], "required", _cell(match["text"]), name)
        elif (match := _BOUND.fullmatch(line)) and not _is_composed(
            **match.groupdict()
        ):
            meaning = _cell(match["text"] or " ".join(above))
            yield Setting(match["name"], _default(match["value"]), meaning, name)
        above = [*above, line.removeprefix("# ")] if line.startswith("# ") else []


def _is_composed(name: str, value: str, **_) -> bool:
    return name in _COMPOSED or (name in _MADE and value.startswith("@"))


def _default(value: str) -> str:
    return "required" if value == "%gin.REQUIRED" else f"`{_cell(value)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
