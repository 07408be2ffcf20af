"""Texts to tokens as a prepared split's are, for texts that are in none."""

from collections.abc import Mapping, Sequence

import numpy as np

from dro_jax.data.tokens import Tokens
from dro_jax.data.truncation import (
    PROMPT_TRUNCATED,
    RESPONSE_TRUNCATED,
    Truncation,
)
from dro_jax.data.vocabularies import Vocabulary, encode_texts


def truncations(
    lengths: Mapping[str, int], sides: tuple[str, str]
) -> tuple[Truncation, Truncation]:
    """How prompts and responses are cut.

    Args:
      lengths: the most tokens of `inputs` and `targets`.
      sides: that are cut from prompts and from responses.
    """
    return (
        Truncation(lengths["inputs"], sides[0], always_eos=True),
        Truncation(lengths["targets"], sides[1], always_eos=False),
    )


def truncated(
    cuts: tuple[Truncation, Truncation], lengths: Sequence[np.ndarray]
) -> np.ndarray:
    """The field `truncated`, int32 ``[N]``, of whole lengths ``[N]`` of both sides."""
    prompts, responses = (cut.cuts(own) for cut, own in zip(cuts, lengths, strict=True))
    bits = PROMPT_TRUNCATED * prompts + RESPONSE_TRUNCATED * responses
    return bits.astype(np.int32)


def encoded(vocabulary: Vocabulary, texts: Sequence[str], cut: Truncation) -> Tokens:
    """Tokens of texts, cut, their ends marked."""
    return cut.cut(encode_texts(vocabulary, texts), vocabulary.eos_id)


def separate(tokens: Tokens) -> list[np.ndarray]:
    """The tokens of each text by itself."""
    parts = np.split(tokens.values, np.cumsum(tokens.lengths)[:-1])
    return parts[: len(tokens.lengths)]


def padded(tokens: Tokens, width: int) -> np.ndarray:
    """``[N, width]`` int32: a row a text, zeros behind it."""
    rows = np.zeros((len(tokens.lengths), width), np.int32)
    rows[np.arange(width) < tokens.lengths[:, None]] = tokens.values
    return rows
