"""A share of the reference's log-probabilities, computed by a machine of its own."""

import contextlib

import jax

from dro_jax.errors import ConfigError
from dro_jax.messages import say
from dro_jax.training import run_files
from dro_jax.training.before.reference import Reference
from dro_jax.training.before.reference_share import Share
from dro_jax.training.preemption import listening
from dro_jax.training.run_settings import RunSettings
from dro_jax.training.run_steps import plan_of, steps_of
from dro_jax.training.watchdog import Watchdog


def compute_share(run: RunSettings, share: Share) -> None:
    """Computes a share of what a run's reference cache holds, and ends.

    Machines that know nothing of each other compute one each, for the train and the
    held-out split, into folders of their own or into one. What they make, in one folder,
    is the whole cache; a run computes what is missing.

    Args:
      run: as it will be trained; its `model_dir` is not written to.
      share: which.

    Raises:
      CheckpointError: the folder holds something else, or is damaged.
      ConfigError: the run keeps no such cache, or is not told where.
      DataError: a split cannot be used.
      Preempted: the run was told to stop; what was computed is kept.
    """
    plan = plan_of(run)
    if plan.mode != "cached":
        raise ConfigError(
            f"there is no share {share} of the reference's log-probs to compute: "
            f"{type(run.model.objective).__name__} "
            + ("has no reference" if plan.mode is None else "keeps a frozen copy of it")
        )
    if run.reference.cache_dir is None:
        raise ConfigError(
            f"the share {share} of the reference's log-probs needs a folder that "
            "belongs to no run: set REFERENCE_CACHE_DIR, here and where it is trained"
        )
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(listening())
        watchdog = stack.enter_context(Watchdog(run.process.watchdog_seconds))
        first = next(plan.data.train.batches())
        reference = Reference(
            plan.model,
            plan.reference.path,
            steps_of(plan, run.updates, first, jax.random.key(0)),
            mode=plan.mode,
            cache_dir=plan.folders[run_files.REFERENCE_CACHE],
            stop=stop,
            watchdog=watchdog,
        )
        for dataset in (plan.data.train, plan.data.held_out):
            if dataset is not None:
                reference.compute_share(dataset, share)
    say(
        f"the share {share} of the reference's log-probs is there. Where other machines "
        "compute the others, copy the folders that they made into one, and train with "
        "REFERENCE_CACHE_DIR set to it"
    )
