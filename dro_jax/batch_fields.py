"""The table of a batch's fields: what each holds, who asks for it, where it comes from.

Nothing else lists their names, types or shapes; data, models and trainers ask here.
Sizes are symbols: B rows; in a row S trajectories, L tokens of prompts, T tokens of
responses, G groups of S/G places each. A row that is not packed has S = 1.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from dro_jax.errors import ConfigError

# Before the names of fields that say of another row's prompts what the others say of a
# row's own, and before those of what a run carries, one field a number.
MISMATCHED = "mismatched_"
RUNNING = "running/"

Source = Literal[
    "split", "packing", "grouping", "reference", "records", "samples", "pairs", "run"
]
Reader = Literal["encoder", "decoder", "loss", "host", "owners", "index", "report"]

# Where a field comes from, for the person who lacks it.
SOURCES: Mapping[Source, str] = {
    "split": "a task's records give it",
    "packing": "rows of several trajectories have it: set DatasetConfig.pack (PACK)",
    "grouping": "set DatasetConfig.group_size (GROUP_SIZE)",
    "reference": "a cache of the reference's log-probabilities gives it",
    "records": "dro-jax train adds it; other loops compute it from the data first",
    "samples": "a run that samples gives it: set train.fresh_samples (FRESH_SAMPLES)",
    "pairs": "dro-jax train adds it; other loops compute it from the data first",
    "run": "the state of a run carries it from step to step",
}


@dataclasses.dataclass(frozen=True)
class BatchField:
    """One field.

    Attributes:
      name: in a batch.
      dtype: of its array, on the host and the device.
      axes: their sizes, a symbol or digit each.
      source: who puts it there, a key of `SOURCES`.
      meaning: in a phrase.
      readers: the networks that take it; the loss, which takes it beside the networks'
        outputs; the host, where it stays; who asks which record owns each token; the
        index of a split's records; the report of a step that was not finite.
      need: the attribute of `Needs` that asks for it; None, every objective.
      required: whether a batch without it is refused, if it is needed.
      trajectories: the attribute of `Trajectories` that it becomes, `[B, S]` laid flat,
        `[B, T]` once for each trajectory of the row; None where more is done to it, or
        where none is it.
    """

    name: str
    dtype: str
    axes: str
    source: Source
    meaning: str
    readers: tuple[Reader, ...] = ()
    need: str | None = None
    required: bool = False
    trajectories: str | None = None

    @property
    def shape(self) -> tuple[str | int, ...]:
        """Sizes of its axes, symbols or numbers."""
        return tuple(int(axis) if axis.isdigit() else axis for axis in self.axes)

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(self.axes)}]"


def _of_record(name: str, meaning: str) -> BatchField:
    """A number computed from a whole split, which is asked for by its own name."""
    return BatchField(
        name, "float32", "BS", "records", meaning, ("loss",), name, True, name
    )


def _of_samples(name: str, meaning: str) -> BatchField:
    """A number of each token, kept since the policy sampled it."""
    return BatchField(
        name, "float32", "BT", "samples", meaning, ("loss",), "rollouts", True, name
    )


# fmt: off
_ENCODER = (
    BatchField("encoder_input_tokens", "int32", "BL", "split",
               "prompts, one behind another; 0 is padding", ("encoder",)),
    BatchField("encoder_segment_ids", "int32", "BL", "packing",
               "s + 1 for trajectory s (grouped, g + 1 for group g), 0 at padding",
               ("encoder",)),
    # T5 reads distances between tokens of a segment, which need no positions; T5X's
    # other networks do.
    BatchField("encoder_positions", "int32", "BL", "packing", "place in the prompt"),
)
_TABLE = (
    *_ENCODER,
    BatchField("decoder_input_tokens", "int32", "BT", "split",
               "responses, each moved right by one behind its start token",
               ("decoder",)),
    BatchField("decoder_target_tokens", "int32", "BT", "split",
               "responses, one behind another; 0 is padding", ("decoder",)),
    BatchField("decoder_loss_weights", "int32", "BT", "split",
               "1 for a response's tokens, 0 at padding", ("loss", "owners")),
    BatchField("decoder_segment_ids", "int32", "BT", "packing",
               "s + 1 for trajectory s, 0 at padding", ("decoder", "loss", "owners")),
    BatchField("decoder_positions", "int32", "BT", "packing", "place in the response"),
    BatchField("rewards", "float32", "BS", "split", "as transformed", ("loss", "report"),
               trajectories="rewards"),
    BatchField("trajectory_weights", "float32", "BS", "split",
               "1 where a trajectory is, 0 where a place is empty",
               ("loss", "owners", "index", "report"),
               trajectories="weights"),
    BatchField("group_weights", "float32", "BG", "grouping",
               "1 where a group is, 0 where a place is empty", ("loss",),
               need="groups", required=True),
    BatchField("record_ids", "int32", "BS2", "split",
               "the task's fingerprint and the record's index",
               ("host", "owners", "index", "report")),
    BatchField("truncated", "int32", "BS", "split",
               "1 where prompt or response was cut"),
    BatchField("next_position", "int64", "2", "split",
               "where the batch after this one begins", ("host",)),
    BatchField("reference_logprobs", "float32", "BS", "reference",
               "log π_ref(y|x), nats", need="reference"),
    BatchField("reference_token_logprobs", "float32", "BT", "reference",
               "log π_ref(y_t|x, y_<t), nats; 0 at padding", need="token_logprobs"),
    _of_record("advantages", "r − V_ref(x)"),
    _of_record("prompt_values", "V̂(x), as `Objective.values_of_prompts` says"),
    _of_record("quantiles", "where the reward lies among those of its prompt"),
    _of_samples("old_token_logprobs", "log π_old(y_t|x, y_<t), nats; 0 at padding"),
    _of_samples("old_token_values", "V_old(x, y_<t); 0 at padding"),
    _of_samples("token_advantages", "as `Objective.of_rollouts` says; 0 at padding"),
    _of_samples("token_returns", "as `Objective.of_rollouts` says; 0 at padding"),
    BatchField(f"{MISMATCHED}weights", "float32", "BS", "pairs",
               "1 where another row's prompt stands beside the response",
               need="mismatched", required=True, trajectories="mismatched_weights"),
)
# fmt: on
_OF_PAIRS = tuple(
    dataclasses.replace(
        field,
        name=f"{MISMATCHED}{field.name}",
        source="pairs",
        meaning=f"another row's {field.name}",
        readers=(),  # a pass of its own takes them for the row's own
        need="mismatched",
    )
    for field in _ENCODER
)
FIELDS: Mapping[str, BatchField] = {
    field.name: field for field in (*_TABLE, *_OF_PAIRS)
}


def field(name: str) -> BatchField:
    """What a batch holds under a name.

    Raises:
      KeyError: there is no such field.
    """
    if name.startswith(RUNNING):
        meaning = "a number that the run carries, the same in every place"
        return BatchField(name, "float32", "BS", "run", meaning, need="running")
    return FIELDS[name]


def names(
    *,
    source: Source | None = None,
    reader: Reader | None = None,
    axes: str | None = None,
) -> tuple[str, ...]:
    """The fields of a source, for a reader or of some axes, in the table's order."""
    return tuple(
        name
        for name, found in FIELDS.items()
        if source in (None, found.source)
        and (reader is None or reader in found.readers)
        and axes in (None, found.axes)
    )


def device_fields(batch: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a step reads; those about records stay on the host."""
    stay = names(reader="host")
    return {name: x for name, x in batch.items() if name not in stay}


def sizes(batch: Mapping[str, Any]) -> dict[str, int]:
    """B, S, L, T and G of a batch, as far as its fields have them.

    What a person's own data put into a batch beside these is not looked at.

    Raises:
      ConfigError: a field has another type than in the table, or does not fit the
        others' shapes.
    """
    found: dict[str, int] = {}
    for name, array in batch.items():
        if name not in FIELDS and not name.startswith(RUNNING):
            continue
        listed = field(name)
        if array.dtype != listed.dtype or array.ndim != len(listed.shape):
            raise ConfigError(
                f"a batch's field '{name}' is {array.dtype}{list(array.shape)}, and "
                f"should be {listed}"
            )
        for axis, size in zip(listed.shape, array.shape, strict=True):
            known = axis if isinstance(axis, int) else found.setdefault(axis, size)
            if size != known:
                raise ConfigError(
                    f"a batch's field '{name}' has the shape {list(array.shape)}, and "
                    f"should be {listed}, where {axis} is {known} in its other fields"
                )
    return found


def zeros(name: str, sizes: Mapping[str, int]) -> np.ndarray:
    """A field of zeros.

    Args:
      name: of the field.
      sizes: of its axes, by symbol.
    """
    listed = field(name)
    shape = [axis if isinstance(axis, int) else sizes[axis] for axis in listed.shape]
    return np.zeros(shape, listed.dtype)
