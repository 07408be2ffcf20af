"""A project with folders `tasks` and `gin_configs` of its own, as many have."""

import pathlib

_FILES = {
    "tasks/__init__.py": "import pathlib\npathlib.Path({marker!r}).touch()\n",
    "tasks/mine.py": "IS_MINE = True\n",
    "tasks/jsonl.py": "def jsonl_task(): return 'mine'\n",
    "gin_configs/__init__.py": "",
    # What ships includes files of these names.
    "gin_configs/models/tiny.gin": "no gin(\n",
    "gin_configs/runs/train.gin": "import evil\n",
    "gin_configs/tasks/mine.gin": "MIXTURE_OR_TASK_NAME = 'mine'\n",
}


def make(folder: pathlib.Path) -> pathlib.Path:
    """Writes the project; returns a path that exists once its `tasks` was imported."""
    marker = folder / "imported"
    for name, text in _FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(marker=str(marker)))
    return marker
