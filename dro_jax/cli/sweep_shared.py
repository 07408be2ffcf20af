"""What trials of equal reference share: they compute it once, in the sweep's folder."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from dro_jax.cli.sweep_composition import (
    CACHE_DIR,
    SAMPLES_DIR,
    VALUE_DIR,
    Composed,
    keeps,
    token_logprobs,
)
from dro_jax.sweeps.names import SWEEP_DIR
from dro_jax.training.run_files import (
    REFERENCE_CACHE,
    REFERENCE_SAMPLES,
    VALUE_OF_REFERENCE,
)

_START = "INITIAL_CHECKPOINT_PATH"


def shared_settings(composed: Composed, builds_on: Mapping[str, str]) -> Iterator[str]:
    """Bindings that put what a trial computes of its reference into shared folders.

    Args:
      composed: the trial.
      builds_on: the keys of the runs that it builds on.
    """
    # Whatever the numbers could depend on; their folders check what they do depend on.
    reference = (
        composed.configuration.filled_in(composed.configuration.macros.get(_START)),
        sorted(builds_on.items()),
        composed.effect.reference,
    )
    if keeps(composed, CACHE_DIR):
        digest = _digest(*reference, token_logprobs(composed))
        yield f"{CACHE_DIR} = '${SWEEP_DIR}/{REFERENCE_CACHE}/{digest}'"
    samples = composed.effect.samples
    if samples and keeps(composed, SAMPLES_DIR):
        digest = _digest(*reference, samples)
        yield f"{SAMPLES_DIR} = '${SWEEP_DIR}/{REFERENCE_SAMPLES}/{digest}'"
    if keeps(composed, VALUE_DIR):
        own = composed.effect.value_of_reference
        # As before there were samples: the folders of earlier sweeps stay.
        digest = _digest(*reference, *((own, samples) if samples else (own,)))
        yield f"{VALUE_DIR} = '${SWEEP_DIR}/{VALUE_OF_REFERENCE}/{digest}'"


def _digest(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]
