"""All hosts of a run read the same data."""

from collections.abc import Mapping

from dro_jax.errors import DataError
from dro_jax.interop.policy_digest import digest_of
from dro_jax.training import hosts
from dro_jax.training.run_progress import differences
from dro_jax.training.run_settings import RunData

# Norms' scales and position biases: enough to tell checkpoints apart, and read in no time.
_SMALL_ARRAYS = 1 << 16


def check_same_data(
    data: RunData, identity: Mapping[str, str], checkpoint: str | None = None
) -> None:
    """Refuses splits of which not all processes read the same records.

    Each reads its own rows by a plan of the whole split. Where they make it of other
    records, some would be left out, others come twice, and in the end one process would
    be left in a collective. Nor may they begin with different parameters, which would
    pass for one model's.

    Args:
      data: the run's splits.
      identity: of the run, as `identity_of` gives it.
      checkpoint: which each process reads, by its own path; None where none does.

    Raises:
      DataError: two processes differ; the message says which and in what.
    """
    if hosts.count() == 1:
        return
    facts = dict(identity)
    for split in (data.held_out, data.value_fit):
        if split is not None:
            prints = split.fingerprint(rewards=True)
            facts |= {f"split '{split.split}', {n}": x for n, x in prints.items()}
    if checkpoint is not None:
        facts["small arrays of INITIAL_CHECKPOINT_PATH"] = hosts.agree(
            lambda: digest_of(checkpoint, _SMALL_ARRAYS)
        )
    first, *others = hosts.exchange(facts)
    for process, its in enumerate(others, start=1):
        if changed := differences(first, its):
            raise DataError(
                f"{hosts.name(0)} and {hosts.name(process)} of this run do not read the "
                f"same data. What differs ({hosts.name(0)} → {hosts.name(process)}): "
                f"{changed}. Copy the same files to all hosts, or name a folder that all "
                "of them see"
            )
