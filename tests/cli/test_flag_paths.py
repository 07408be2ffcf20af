"""Flags of paths are expanded, whatever the shell left of them."""

import pytest

from dro_jax.cli import flag_paths
from dro_jax.cli.parser import build_parser


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("generate --model_dir=~/m --input=~/i --output=o", ("model_dir", "input")),
        ("convert ~/source ~/there --to=hf", ("source", "destination")),
        ("train --gin_file=~/a.gin --gin_search_paths=~/b,~/c", ("gin_file",)),
    ],
)
def test_flags_are_expanded(line, names, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    arguments = build_parser().parse_args(line.split())
    flag_paths.expand(arguments)
    for name in names:
        value = getattr(arguments, name)
        for path in value if isinstance(value, list) else [value]:
            assert path.startswith("/home/me/")
    if "search" in line:
        assert arguments.gin_search_paths == "/home/me/b,/home/me/c"
