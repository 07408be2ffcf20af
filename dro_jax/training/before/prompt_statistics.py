"""Statistics of responses to a prompt, logged or the reference's, as fields of batches."""

import jax
import jax.numpy as jnp
import numpy as np

from dro_jax.data import scratch
from dro_jax.data.record_ids import PromptRecords
from dro_jax.errors import DataError
from dro_jax.objectives import quantiles
from dro_jax.objectives.interface import Objective
from dro_jax.training.before.record_fields import RecordField
from dro_jax.training.before.reference_table import ReferenceTable
from dro_jax.training.before.sampled_rewards import SampledRewards

_PADDED_TO = 1 << 16


def prompt_value_table(
    objective: Objective, records: PromptRecords, reference: ReferenceTable | None
) -> RecordField:
    """The field `prompt_values`, of what is logged.

    Args:
      objective: computes the values of prompts from their responses.
      records: a split's.
      reference: log-probabilities of the same records; None, where the objective needs
        no reference: 0 for each.
    """
    values = scratch.array(len(records), np.float32)
    for positions in records.by_prompt():
        logprobs = _logprobs(records, positions, reference)
        # Large parts are padded, so that two or three sizes are compiled for: by records
        # of a prompt of their own, whose values are thrown away.
        large = len(positions) > _PADDED_TO
        padding = [(0, -len(positions) % _PADDED_TO if large else 0)]
        numbers = np.unique(records.prompts[positions], return_inverse=True)[1]
        found = objective.values_of_prompts(
            jnp.asarray(np.pad(logprobs, padding)),
            jnp.asarray(np.pad(records.rewards[positions], padding)),
            jnp.asarray(np.pad(numbers, padding, constant_values=-1), jnp.int32),
        )
        values[positions] = np.asarray(found)[: len(positions)]
    return RecordField("prompt_values", records.ids, values)


def _logprobs(records, positions, reference):
    if reference is None:
        return np.zeros(len(positions), np.float32)
    logprobs, known = reference.logprobs_of(records.ids.take(positions))
    if not known.all():
        raise DataError(
            f"the reference cache lacks {np.sum(~known)} of the split's "
            f"{len(records)} records: it was computed from other data"
        )
    return logprobs


def sampled_value_table(
    objective: Objective, records: PromptRecords, samples: SampledRewards
) -> RecordField:
    """The field `prompt_values` from the reference's own samples.

    Args:
      objective: computes the values of prompts from rewards of their samples.
      records: a split's.
      samples: of all its prompts.
    """
    values_of = jax.jit(objective.values_of_samples)
    values = scratch.array(len(records), np.float32)
    for positions in records.by_prompt():
        prompts, numbers = np.unique(records.prompts[positions], return_inverse=True)
        found = []
        for part in scratch.chunks(len(prompts), _PADDED_TO):
            rewards = samples.of(prompts[part])
            # One size is compiled for, but for small splits; what pads is thrown away.
            large = len(prompts) > _PADDED_TO
            padding = (0, _PADDED_TO - len(rewards) if large else 0)
            found.append(values_of(jnp.asarray(np.pad(rewards, (padding, (0, 0))))))
            found[-1] = np.asarray(found[-1])[: len(rewards)]
        values[positions] = np.concatenate(found)[numbers]
    return RecordField("prompt_values", records.ids, values)


def check_several_responses(records: PromptRecords, objective: str, split: str) -> None:
    """Refuses a split in which no prompt has two responses: nothing would be learnt.

    A prompt's value is then the reward itself, QRPO's quantile always 1.

    Args:
      records: the split's.
      objective: what reads its statistics, for the message.
      split: its name.

    Raises:
      DataError: it is such a split.
    """
    if records.num_prompts == len(records):
        raise DataError(
            f"none of the {len(records)} prompts of the split '{split}' has "
            f"more than one response, and {objective} needs several. Let the reference "
            "answer them (gin_configs/samples/reference.gin), or use DRO-V; or, for "
            "held-out data alone, set EVAL_DATASET = None"
        )


def quantile_table(
    records: PromptRecords, samples: SampledRewards | None = None
) -> RecordField:
    """The field `quantiles` of QRPO.

    Args:
      records: a split's.
      samples: of the reference, among whose rewards at x a reward's place is; None, the
        logged responses are taken for the reference's.
    """
    values = scratch.array(len(records), np.float32)
    for positions in records.by_prompt():
        own = records.rewards[positions], records.prompts[positions]
        if samples is None:
            values[positions] = quantiles(*own, *own)
        else:
            values[positions] = quantiles_among(*own, samples)
    return RecordField("quantiles", records.ids, values)


def quantiles_among(
    rewards: np.ndarray, prompts: np.ndarray, samples: SampledRewards
) -> np.ndarray:
    """Where rewards lie among those of the reference's samples of their prompts.

    Args:
      rewards: ``[N]``.
      prompts: ``[N]`` uint64 hashes, as `PromptRecords.prompts` has them.
      samples: of all these prompts.

    Returns:
      ``[N]`` float32 in [0, 1]; see `dro_jax.objectives.quantiles`.
    """
    different = np.unique(prompts)
    of_reference = samples.of(different)
    repeated = np.repeat(different, of_reference.shape[1])
    return quantiles(rewards, prompts, of_reference.ravel(), repeated)
