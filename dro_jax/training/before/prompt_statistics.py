"""Statistics of all responses that are logged for a prompt, as fields of batches."""

import jax.numpy as jnp
import numpy as np

from dro_jax.data.record_ids import PromptRecords
from dro_jax.errors import DataError
from dro_jax.objectives import quantiles
from dro_jax.objectives.interface import Objective
from dro_jax.training.before.record_fields import RecordField, RecordIndex
from dro_jax.training.before.reference_cache import ReferenceLogprobs


def prompt_value_table(
    objective: Objective, records: PromptRecords, reference: ReferenceLogprobs
) -> RecordField:
    """The field `prompt_values` of RPO.

    Args:
      objective: computes the values of prompts from their responses.
      records: a split's.
      reference: log-probabilities of the same records.
    """
    index = RecordIndex(reference.ids, "the reference's log-probability")
    entries, known = index.locate(records.ids)
    if not known.all():
        raise DataError(
            f"the reference cache lacks {np.sum(~known)} of the split's "
            f"{len(records.ids)} records: it was computed from other data"
        )
    values = objective.values_of_prompts(
        jnp.asarray(reference.logprobs[entries]),
        jnp.asarray(records.rewards),
        jnp.asarray(records.prompts),
    )
    return RecordField("prompt_values", records.ids, np.asarray(values))


def check_several_responses(records: PromptRecords, objective: str, split: str) -> None:
    """Refuses a split in which no prompt has two responses: nothing would be learnt.

    RPO's value of a prompt is then the reward itself, QRPO's quantile always 1.

    Args:
      records: the split's.
      objective: what reads its statistics, for the message.
      split: its name.

    Raises:
      DataError: it is such a split.
    """
    if len(np.unique(records.prompts)) == len(records.prompts):
        raise DataError(
            f"none of the {len(records.prompts)} prompts of the split '{split}' has "
            f"more than one response, and {objective} needs several. Use DRO-V; or, for "
            "held-out data alone, set EVAL_DATASET = None"
        )


def quantile_table(records: PromptRecords) -> RecordField:
    """The field `quantiles` of QRPO, the logged responses taken for the reference's.

    Args:
      records: a split's.
    """
    values = quantiles(
        records.rewards, records.prompts, records.rewards, records.prompts
    )
    return RecordField("quantiles", records.ids, values)
