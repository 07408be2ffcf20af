"""From texts to tokens: end-of-text tokens and truncation, with a note of what was cut."""

from collections.abc import Mapping

import seqio
import tensorflow as tf

from dro_jax.data.vocabularies import check_vocabulary
from dro_jax.errors import ConfigError

LEFT = "left"
RIGHT = "right"
PROMPT_TRUNCATED = 1
RESPONSE_TRUNCATED = 2


def encode_feedback(
    dataset: tf.data.Dataset,
    output_features: Mapping[str, seqio.Feature],
    sequence_length: Mapping[str, int] | None = None,
    *,
    prompt_truncation: str = LEFT,
    response_truncation: str = RIGHT,
) -> tf.data.Dataset:
    """The seqio preprocessor of every feedback task: `encode_example` over a data set.

    Raises:
      DataError: the vocabulary cannot be used.
    """
    vocabulary = output_features["targets"].vocabulary
    check_vocabulary(vocabulary)
    return dataset.map(
        lambda example: encode_example(
            example,
            vocabulary,
            sequence_length,
            prompt_truncation=prompt_truncation,
            response_truncation=response_truncation,
        ),
        num_parallel_calls=tf.data.AUTOTUNE,
    )


def encode_example(
    example: Mapping[str, tf.Tensor],
    vocabulary: seqio.Vocabulary,
    lengths: Mapping[str, int] | None,
    *,
    prompt_truncation: str,
    response_truncation: str,
) -> dict[str, tf.Tensor]:
    """Tokens of one example.

    A prompt always ends in the end-of-text token, whichever side is cut. A response
    ends in it too, unless its end was cut: what follows the cut is not an end.

    Args:
      example: `inputs` and `targets` (scalar texts), `reward`, `record_id`.
      vocabulary: of both texts.
      lengths: the most tokens of `inputs` and `targets`, end-of-text included; None or
        a missing entry cuts nothing.
      prompt_truncation: the side that is cut, `left` or `right`.
      response_truncation: likewise.

    Returns:
      The example with tokens, int32, under `inputs` and `targets`, their texts under
      `inputs_pretokenized` and `targets_pretokenized`, and `truncated` int32 ``[1]``:
      1 where the prompt was cut, plus 2 where the response was.
    """
    lengths = lengths or {}
    eos = tf.constant([vocabulary.eos_id], tf.int32)
    prompt, prompt_cut = _fit(
        tf.cast(vocabulary.encode_tf(example["inputs"]), tf.int32),
        eos,
        lengths.get("inputs"),
        prompt_truncation,
        always_eos=True,
    )
    response, response_cut = _fit(
        tf.cast(vocabulary.encode_tf(example["targets"]), tf.int32),
        eos,
        lengths.get("targets"),
        response_truncation,
        always_eos=False,
    )
    truncated = PROMPT_TRUNCATED * prompt_cut + RESPONSE_TRUNCATED * response_cut
    return {
        "inputs": prompt,
        "targets": response,
        "reward": example["reward"],
        "record_id": example["record_id"],
        "truncated": truncated[None],
        "inputs_pretokenized": example["inputs"],
        "targets_pretokenized": example["targets"],
    }


def check_side(side: str, setting: str) -> str:
    """The side itself.

    Raises:
      ConfigError: it is neither `left` nor `right`.
    """
    if side not in (LEFT, RIGHT):
        raise ConfigError(
            f"{setting} = {side!r} is unknown: use 'left' to cut the beginning of texts "
            "that are too long, or 'right' to cut their end"
        )
    return side


def _fit(
    tokens: tf.Tensor,
    eos: tf.Tensor,
    length: int | None,
    side: str,
    *,
    always_eos: bool,
) -> tuple[tf.Tensor, tf.Tensor]:
    whole = tf.concat([tokens, eos], axis=0)
    if length is None:
        return whole, tf.constant(0, tf.int32)
    cut = tf.cast(tf.shape(whole)[0] > length, tf.int32)
    if side == LEFT:
        return whole[-length:], cut
    if always_eos:
        return tf.concat([tokens[: length - 1], eos], axis=0), cut
    return whole[:length], cut
