"""Flags that name what is read, with `~` and variables put in."""

from typing import Any

from dro_jax.paths import expanded

# Those of what is written are `outputs`' own.
_PATHS = (
    "model_dir",
    "input",
    "source",
    "destination",
    "tokenizer",
    "prepared_dir",
    "data_dir",
    "each",
    "plans",
    "reference",
)


def expand(arguments: Any) -> None:
    """Replaces the paths among the arguments; the shell expands some, not all.

    Shells leave `~` as it is behind `=`, as in `--input=~/prompts.jsonl`.

    Args:
      arguments: the parsed command line.

    Raises:
      ConfigError: a path names a variable that is not set.
    """
    for name in _PATHS:
        value = getattr(arguments, name, None)
        if isinstance(value, str):
            setattr(arguments, name, expanded(value))
    if isinstance(runs := getattr(arguments, "runs", None), list):
        arguments.runs = [expanded(path) for path in runs]
    arguments.gin_file = [expanded(path) for path in arguments.gin_file]
    folders = (arguments.gin_search_paths or "").split(",")
    arguments.gin_search_paths = ",".join(expanded(path) for path in folders if path)
