"""From texts to tokens: end-of-text tokens and truncation, with a note of what was cut."""

from collections.abc import Mapping

import seqio
import tensorflow as tf

from dro_jax.data.seqio_vocabularies import FlatTokens, as_seqio, encode_tf
from dro_jax.data.truncation import (
    LEFT,
    PROMPT_TRUNCATED,
    RESPONSE_TRUNCATED,
    RIGHT,
    Truncation,
)
from dro_jax.data.vocabularies import Vocabulary, check_vocabulary

_ENCODED_AT_ONCE = 64


def encode_feedback(
    dataset: tf.data.Dataset,
    output_features: Mapping[str, seqio.Feature],
    sequence_length: Mapping[str, int] | None = None,
    *,
    prompt_truncation: str = LEFT,
    response_truncation: str = RIGHT,
) -> tf.data.Dataset:
    """The seqio preprocessor of every feedback task: `encode_batch`, batches hidden.

    Raises:
      DataError: the vocabulary cannot be used.
    """
    vocabulary = output_features["targets"].vocabulary
    check_vocabulary(vocabulary)

    @tf.autograph.experimental.do_not_convert
    def encode(examples):
        features, lengths = encode_batch(
            examples,
            vocabulary,
            sequence_length,
            prompt_truncation=prompt_truncation,
            response_truncation=response_truncation,
        )
        texts = {f"{name}_pretokenized": examples[name] for name in lengths}
        return {**features, **texts}, lengths

    @tf.autograph.experimental.do_not_convert
    def unpad(features, lengths):
        tokens = {name: features[name][: lengths[name]] for name in lengths}
        return {**features, **tokens}

    batches = dataset.batch(_ENCODED_AT_ONCE)
    encoded = batches.map(encode, num_parallel_calls=tf.data.AUTOTUNE)
    return encoded.unbatch().map(unpad, num_parallel_calls=tf.data.AUTOTUNE)


def encode_batch(
    examples: Mapping[str, tf.Tensor],
    vocabulary: Vocabulary,
    lengths: Mapping[str, int] | None,
    *,
    prompt_truncation: str,
    response_truncation: str,
) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
    """Tokens of B examples.

    A prompt always ends in the end-of-text token, whichever side is cut. A response
    ends in it too, unless its end was cut: what follows the cut is not an end.

    Args:
      examples: `inputs` and `targets`, texts ``[B]``; `reward`, `record_id`.
      vocabulary: of both texts.
      lengths: the most tokens of `inputs` and `targets`, end-of-text included, to which
        they are padded; without an entry, as many as the longest of the batch has.
      prompt_truncation: the side that is cut, `left` or `right`.
      response_truncation: likewise.

    Returns:
      The features, with tokens, int32 ``[B, length]``, under `inputs` and `targets`, and
      `truncated` int32 ``[B, 1]``: 1 where the prompt was cut, plus 2 where the response
      was. Then the lengths of `inputs` and `targets` without padding, int32 ``[B]``.
    """
    limits = lengths or {}
    vocabulary = as_seqio(vocabulary)
    prompts, prompt_lengths, prompt_cut = _fit(
        encode_tf(vocabulary, examples["inputs"]),
        vocabulary.eos_id,
        limits.get("inputs"),
        prompt_truncation,
        always_eos=True,
    )
    responses, response_lengths, response_cut = _fit(
        encode_tf(vocabulary, examples["targets"]),
        vocabulary.eos_id,
        limits.get("targets"),
        response_truncation,
        always_eos=False,
    )
    truncated = PROMPT_TRUNCATED * prompt_cut + RESPONSE_TRUNCATED * response_cut
    features = {
        "inputs": prompts,
        "targets": responses,
        "reward": examples["reward"],
        "record_id": examples["record_id"],
        "truncated": truncated[:, None],
    }
    return features, {"inputs": prompt_lengths, "targets": response_lengths}


def _fit(
    tokens: FlatTokens, eos_id: int, limit: int | None, side: str, *, always_eos: bool
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """(Padded tokens ``[B, limit]``, their lengths ``[B]``, 1 where cut ``[B]``)."""
    values, lengths = tokens
    width = tf.reduce_max(lengths) + 1 if limit is None else limit
    room = Truncation(width, side, always_eos).room
    kept = tf.minimum(lengths, room)
    first = tf.cumsum(lengths, exclusive=True)
    if side == LEFT:
        first += lengths - kept
    columns = tf.range(width)[None, :]
    is_text = columns < kept[:, None]
    places = tf.where(is_text, first[:, None] + columns, 0)
    # One more value, so that there is something to gather where all texts are empty.
    text = tf.gather(tf.concat([values, [0]], axis=0), places)
    end = tf.where(columns == kept[:, None], eos_id, 0)
    padded = tf.where(is_text, text, end)
    if limit is not None:
        padded = tf.ensure_shape(padded, [None, limit])
    cut = tf.cast(lengths + 1 > width, tf.int32)
    return padded, tf.minimum(kept + 1, width), cut
