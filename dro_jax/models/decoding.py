"""Decoding responses from a policy: sampling and beam search."""

from dro_jax.models.beam_search import beam_search, brevity_penalty
from dro_jax.models.incremental import PAD_ID, Decoded
from dro_jax.models.sampling import sample_token, temperature_sample

__all__ = [
    "PAD_ID",
    "Decoded",
    "beam_search",
    "brevity_penalty",
    "sample_token",
    "temperature_sample",
]
