"""What tells a policy on disk from all others."""

import hashlib
import math

import numpy as np

from dro_jax.interop import formats
from dro_jax.interop.stored_model import Leaves


def digest_of(path: str | None, most: float = math.inf) -> str:
    """A digest of a policy's parameters: their names, types and bytes.

    As they are stored, so that it is the same for any model that reads them.

    Args:
      path: the checkpoint.
      most: of arrays of more numbers than that names, types and shapes will do.

    Raises:
      CheckpointError: there is none, or it cannot be read.
    """
    return digest_of_leaves(formats.open_model(path).policy, most=most)


def digest_of_leaves(leaves: Leaves, text: str = "", *, most: float = math.inf) -> str:
    """A digest of parameters as :func:`digest_of` makes it, and of a text beside."""
    digest = hashlib.sha256(text.encode())
    # One at a time, so that a large model need not fit the host's memory.
    for name, leaf in sorted(leaves.items()):
        if math.prod(leaf.shape) > most:
            digest.update(f"{name} {leaf.dtype} {leaf.shape}".encode())
            continue
        array = leaf.read()
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()[:16]
