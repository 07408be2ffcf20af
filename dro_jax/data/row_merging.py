"""Rows that several trajectories share, from tokens that lie end to end."""

from collections.abc import Mapping

import numpy as np

from dro_jax.data.truncation import Tokens, counting


def merged_rows(
    prompts: Tokens,
    responses: Tokens,
    fields: Mapping[str, np.ndarray],
    prompt_places: np.ndarray,
    response_places: np.ndarray,
    widths: tuple[int, int],
    *,
    bos_id: int = 0,
    segments: bool = True,
) -> dict[str, np.ndarray]:
    """Rows with their trajectories' segments end to end, padding last.

    Trajectory s of a row is its segment s + 1, and positions begin at 0 in each.
    Numbers are moved, never computed with.

    Args:
      prompts: in the order of their places, row by row; a row has room for its own.
      responses: likewise.
      fields: those of trajectories, ``[n, …]`` in the order of `responses`.
      prompt_places: ``[R, P]`` true where there is a prompt.
      response_places: ``[R, S]`` true where there is a response.
      widths: tokens of prompts and of responses that a row holds, L and T.
      bos_id: the decoder's first input.
      segments: whether rows say where their segments are. If not, a row is one
        trajectory, and the end of its text is a decoder's input too, as in T5.

    Returns:
      `encoder_input_tokens` ``[R, L]``, `decoder_input_tokens`,
      `decoder_target_tokens`, `decoder_loss_weights` ``[R, T]`` (int32), `fields`
      ``[R, S, …]`` with zeros in empty places; with segments, also
      `encoder_segment_ids`, `encoder_positions` ``[R, L]``, `decoder_segment_ids`,
      `decoder_positions` ``[R, T]`` (int32).
    """
    decoder = _Side(responses.lengths, response_places, widths[1])
    targets = decoder.rows(responses.values)
    if segments:
        # Each response moved on by one, its own start first, not its neighbour's end.
        moved = np.concatenate([[bos_id], responses.values])[:-1]
        inputs = decoder.rows(np.where(decoder.within == 0, bos_id, moved))
    else:
        inputs = np.pad(targets[:, :-1], [(0, 0), (1, 0)], constant_values=bos_id)
    rows = {
        **prompt_rows(prompts, prompt_places, widths[0], segments=segments),
        "decoder_input_tokens": inputs,
        "decoder_target_tokens": targets,
        "decoder_loss_weights": (targets != 0).astype(np.int32),
        **{name: _placed(values, response_places) for name, values in fields.items()},
    }
    return rows | (decoder.places("decoder") if segments else {})


def prompt_rows(
    prompts: Tokens, places: np.ndarray, width: int, *, segments: bool
) -> dict[str, np.ndarray]:
    """The encoder's fields of :func:`merged_rows` alone; arguments as there."""
    encoder = _Side(prompts.lengths, places, width)
    rows = {"encoder_input_tokens": encoder.rows(prompts.values)}
    return rows | (encoder.places("encoder") if segments else {})


class _Side:
    """Where the tokens of one side go.

    Args:
      lengths: ``[n]`` of the segments, in the order of their places.
      places: ``[R, S]`` true where there is one.
      width: tokens of a row.
    """

    def __init__(self, lengths: np.ndarray, places: np.ndarray, width: int):
        rows, slots = np.nonzero(places)
        by_place = _placed(lengths.astype(np.int64), places)
        begins = (np.cumsum(by_place, axis=1) - by_place)[places] + rows * width
        self._shape = (len(places), width)
        self.within = counting(lengths)
        self._targets = np.repeat(begins, lengths) + self.within
        self.segments = np.repeat(slots + 1, lengths)

    def places(self, name: str) -> dict[str, np.ndarray]:
        """Each token's segment, and its place in it."""
        return {
            f"{name}_segment_ids": self.rows(self.segments),
            f"{name}_positions": self.rows(self.within),
        }

    def rows(self, values: np.ndarray) -> np.ndarray:
        """``[R, width]`` int32 from values of all tokens, 0 elsewhere."""
        made = np.zeros(self._shape, np.int32)
        made.reshape(-1)[self._targets] = values
        return made


def _placed(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """``[R, S, …]`` from ``[n, …]``, zeros in empty places."""
    placed = np.zeros((*places.shape, *values.shape[1:]), values.dtype)
    placed[places] = values
    return placed
