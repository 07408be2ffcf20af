"""Digests of what a scorer's numbers depend on."""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import dro_jax

_PART = 1024 * 1024


def fingerprint(*parts: Any) -> str:
    """A digest of values of JSON in their order, and of this package's version."""
    text = json.dumps([dro_jax.__version__, *parts], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def of_settings(settings: Any) -> str:
    """That of a dataclass of plain values: its class and all its fields."""
    return fingerprint(type(settings).__name__, dataclasses.asdict(settings))


def of_files(folder: str | os.PathLike, names: Sequence[str]) -> str:
    """That of files by name and content, wherever the folder lies."""
    found = []
    for name in sorted(names):
        digest = hashlib.sha256()
        with pathlib.Path(folder, name).open("rb") as file:
            while part := file.read(_PART):
                digest.update(part)
        found.append([name, digest.hexdigest()])
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()
