"""The files and folders that a launched command names."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dro_jax.cli.configuration_diff import Configuration
from dro_jax.cli.gin_files import contained
from dro_jax.launching.interface import Job
from dro_jax.paths import expanded, is_url

# Settings of ours and of T5X's runs that are folders or files.
_FOLDERS = ("MODEL_DIR", "EVAL_OUTPUT_DIR", "INFER_OUTPUT_DIR")
_PATHS = (
    *_FOLDERS,
    "REFERENCE_CACHE_DIR",
    "REFERENCE_SAMPLES_DIR",
    "VALUE_OF_REFERENCE_DIR",
    "INITIAL_CHECKPOINT_PATH",
    "CHECKPOINT_PATH",
    "TRAIN_PATH",
    "VALIDATION_PATH",
    "VOCABULARY",
)
# A name without any folder, or of one, may be one on Hugging Face's hub.
_MAY_BE_ON_A_HUB = ("INITIAL_CHECKPOINT_PATH", "CHECKPOINT_PATH")
_BYTE = "byte"  # the vocabulary that is no file
_LONGEST_NAME = 40


def folder_of(configuration: Configuration) -> str | None:
    """The folder that a run's settings say to write to."""
    values = (
        configuration.filled_in(configuration.macros.get(name)) for name in _FOLDERS
    )
    return next((value for value in values if isinstance(value, str)), None)


def paths_of(configuration: Configuration) -> Iterator[str]:
    """The paths and URLs among a run's settings."""
    for name in _PATHS:
        value = configuration.filled_in(configuration.macros.get(name))
        for text in contained(value):
            if not isinstance(text, str) or text in ("", _BYTE):
                continue
            if name not in _MAY_BE_ON_A_HUB or may_be_a_path(text):
                yield text


def may_be_a_path(text: str) -> bool:
    """Whether it is to be looked for on disk or by its URL, and not on a hub."""
    named = text.startswith(("/", ".", "~", "$")) or is_url(text)
    return named or os.path.exists(text)


def sorted_paths(model_dir: str | None, paths: Iterable[str]) -> Mapping[str, Any]:
    """The arguments of a `Job` that name places; paths are absolute."""
    every = [path for path in (model_dir, *paths) if path]
    urls = [path for path in every if is_url(path)]
    local = [absolute(path) for path in every if not is_url(path)]
    return {
        "model_dir": model_dir and absolute(model_dir),
        "urls": tuple(dict.fromkeys(urls)),
        "local_paths": tuple(dict.fromkeys(local)),
    }


def absolute(path: str) -> str:
    """A path from the root, with what it leaves out put in; a URL as it is."""
    found = expanded(path)
    return found if is_url(found) else os.path.abspath(found)


def job_name(model_dir: str | None, command: str) -> str:
    """A name for a job, from its folder or else from its command."""
    last = (model_dir or "").rstrip("/").rpartition("/")[2]
    for text in (last, command):
        name = re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")
        name = re.sub("^[^a-z]+", "", name)[:_LONGEST_NAME].strip("-")
        if name:
            return name
    return Job.__name__.lower()
