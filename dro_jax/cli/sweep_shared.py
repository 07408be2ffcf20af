"""What trials of equal reference share: they compute it once, in the sweep's folder."""

import hashlib
from collections.abc import Mapping

from dro_jax.cli.sweep_composition import (
    CACHE_DIR,
    Composed,
    reads_cache,
    token_logprobs,
)
from dro_jax.sweeps.names import SWEEP_DIR

_START = "INITIAL_CHECKPOINT_PATH"


def shared_settings(composed: Composed, builds_on: Mapping[str, str]) -> list[str]:
    """Bindings that put what a trial computes of its reference into shared folders.

    Args:
      composed: the trial.
      builds_on: the keys of the runs that it builds on.
    """
    if not reads_cache(composed):
        return []
    # Whatever the reference's numbers could depend on; its folder checks what they do.
    parts = (
        composed.configuration.filled_in(composed.configuration.macros.get(_START)),
        sorted(builds_on.items()),
        composed.effect.reference,
        token_logprobs(composed),
    )
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()[:8]
    return [f"{CACHE_DIR} = '${SWEEP_DIR}/reference_cache/{digest}'"]
