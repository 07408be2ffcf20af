"""What a worker does: one trial after another, stage by stage, until none is left."""

import time
from collections.abc import Callable, Mapping, Sequence

from dro_jax.messages import say
from dro_jax.plurals import counted
from dro_jax.sweeps.interface import ClaimedTrial, TrialStore


def work(
    store: TrialStore,
    stages: Mapping[str, Sequence[str] | None],
    run: Callable[[ClaimedTrial], None],
    *,
    wait_seconds: float = 5.0,
) -> None:
    """Runs the trials that wait; returns when all of all stages have ended, at whomever.

    A stage begins when the ones before it have ended.

    Args:
      store: where the trials are; several workers may share it.
      stages: by name, in their order, the keys of the trials that are asked for; None,
        all that the stage has.
      run: does a trial, and ends it by one of its calls.
      wait_seconds: between looks where others have the rest of a stage.
    """
    for stage, keys in stages.items():
        told = None
        while True:
            claimed = store.claim(stage, keys)
            if claimed is not None:
                run(claimed)
                told = None
                continue
            left = store.unfinished(stage, keys)
            if not left:
                break
            if left != told:
                say(f"{stage}: {counted(left, 'trial')} with other workers …")
                told = left
            time.sleep(wait_seconds)
