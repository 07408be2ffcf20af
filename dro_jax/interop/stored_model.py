"""A model on disk, whatever its format: T5X's names, arrays read one at a time."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import numpy as np

from dro_jax.models.t5_config import T5Config

Format = Literal["dro-jax", "t5x", "t5x-legacy", "hf"]


@dataclasses.dataclass(frozen=True)
class Leaf:
    """An array that is on disk.

    Attributes:
      shape: its shape.
      dtype: its type as stored.
      read: reads it to the host; a call reads it anew and keeps nothing.
      read_sharded: reads each device's part alone, where the format can do that.
      origin: its name in the file, for messages and summaries.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]
    read_sharded: Callable[[jax.sharding.Sharding], jax.Array] | None = None
    origin: str = ""

    def place(self, sharding: jax.sharding.Sharding) -> jax.Array:
        """The array on its devices."""
        if self.read_sharded is not None:
            return self.read_sharded(sharding)
        array = self.read()
        return jax.make_array_from_callback(
            self.shape, sharding, lambda index: array[index]
        )


Leaves = Mapping[str, Leaf]  # by T5X's names, `encoder/layers_0/…`


@dataclasses.dataclass(frozen=True)
class StoredModel:
    """What a checkpoint or model folder holds.

    Attributes:
      format: how it is stored.
      path: the folder, or its URL.
      config: the policy's network; `scan_layers` says in which layout `policy` is.
      policy: the policy's parameters.
      value: those of the value estimate, without the prefix `value/`; may be empty.
      reference: those of a frozen reference that a T5X run carries; may be empty.
      step: updates done, 0 where that is not recorded.
      value_config: settings of the value estimate by the names of `ValueConfig`, as far
        as they are recorded.
      ignored: what the files hold beside, and why it is not carried on.
      tokenizer_files: files of the tokenizer that lie beside.
      notes: what was made of it to read it, in words.
    """

    format: Format
    path: str
    config: T5Config
    policy: Leaves
    value: Leaves = dataclasses.field(default_factory=dict)
    reference: Leaves = dataclasses.field(default_factory=dict)
    step: int = 0
    value_config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    ignored: Mapping[str, str] = dataclasses.field(default_factory=dict)
    tokenizer_files: tuple[pathlib.Path, ...] = ()
    notes: tuple[str, ...] = ()
