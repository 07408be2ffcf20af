"""What a split of a TFDS data set holds: digests of its files, how they are read."""

import os
from typing import Any

import seqio
import tensorflow_datasets as tfds

from dro_jax.data.store.file_facts import file_facts

_ERRORS = (
    AssertionError, AttributeError, ImportError, LookupError, OSError, RuntimeError,
    TypeError, ValueError,
)  # fmt: skip


def tfds_contents(source: seqio.TfdsDataSource, split: str) -> Any:
    """What the split's records depend on, as JSON holds it; None where it is not known.

    Files that lie elsewhere than on this computer are not read for it.
    """
    loader = source.tfds_dataset
    settings = {"_decoders": None, "_builder_kwargs": {}, "_data_dir_override": None}
    if any(
        (getattr(loader, name, True) or None) != (known or None)
        for name, known in settings.items()
    ):
        return None
    if loader.tfds_splits is not None:
        return None
    try:
        info = loader.info
        wanted = (getattr(loader, "_split_map", None) or {}).get(split, split)
        parts = [
            [_digest(part.filename), part.skip, part.take]
            for part in info.splits[wanted].file_instructions
        ]
        features = repr(info.features)
    except _ERRORS:
        # Whatever it is, reading the records meets it again, and there it is told.
        return None
    if not parts or any(part[0] is None for part in parts):
        return None
    return ["tfds", tfds.__version__, info.full_name, features, parts]


def _digest(path: str) -> str | None:
    facts = file_facts(os.fspath(path))
    return None if facts is None else facts.sha256
