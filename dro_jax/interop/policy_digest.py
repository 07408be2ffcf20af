"""What tells a policy on disk from all others."""

import hashlib
import math

import numpy as np

from dro_jax.interop import formats


def digest_of(path: str | None, most: float = math.inf) -> str:
    """A digest of a policy's parameters: their names, types and bytes.

    As they are stored, so that it is the same for any model that reads them.

    Args:
      path: the checkpoint.
      most: of arrays of more numbers than that names, types and shapes will do.

    Raises:
      CheckpointError: there is none, or it cannot be read.
    """
    digest = hashlib.sha256()
    # One at a time, so that a large model need not fit the host's memory.
    for name, leaf in sorted(formats.open_model(path).policy.items()):
        if math.prod(leaf.shape) > most:
            digest.update(f"{name} {leaf.dtype} {leaf.shape}".encode())
            continue
        array = leaf.read()
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()[:16]
