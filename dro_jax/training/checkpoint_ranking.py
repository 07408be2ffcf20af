"""Which checkpoints are kept: the newest, and the best by a held-out metric."""

import difflib
import pathlib
import types
from collections.abc import Collection

import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from dro_jax.errors import ConfigError
from dro_jax.training import hosts
from dro_jax.training.atomic_files import write_json
from dro_jax.training.run_files import CHECKPOINT, progress_file
from dro_jax.training.run_progress import RunProgress


def check_reported(metric: str, names: Collection[str]) -> None:
    """Refuses to rank checkpoints by what evaluations do not report.

    Raises:
      ConfigError: `metric` is not among the `names`.
    """
    if metric in names:
        return
    near = difflib.get_close_matches(metric, names, n=3, cutoff=0.5)
    raise ConfigError(
        f"CheckpointConfig.best_metric = {metric!r} ranks the checkpoints, but no "
        f"evaluation reports it. Near names: {', '.join(near) or 'none'}. It reports "
        + ", ".join(sorted(names))
    )


def preservation(config, ranked: bool) -> checkpoint_managers.PreservationPolicy:
    """Orbax's policy for a `CheckpointConfig`.

    Args:
      config: what to keep.
      ranked: whether there are metrics to rank by.
    """
    policies = [checkpoint_managers.LatestN(config.keep)]
    if ranked and config.keep is not None and config.keep_best:
        policies.append(
            checkpoint_managers.BestN(
                get_metric_fn=config.rank,
                reverse=config.best_mode == "min",
                n=config.keep_best,
                keep_checkpoints_without_metrics=False,
            )
        )
    return checkpoint_managers.AnyPreservationPolicy(policies)


def add_evaluation(
    manager: ocp.CheckpointManager,
    policy: checkpoint_managers.PreservationPolicy,
    step: int,
    progress: RunProgress,
) -> None:
    """Adds the evaluation that a checkpoint was saved without; else nothing is done.

    A run that is told to stop while it evaluates saves its state at once; the one that
    resumes evaluates the same step, whose arrays are on disk already. Orbax neither
    writes a step twice nor looks, without a save, for what need not be kept.

    Args:
      manager: has written the step.
      policy: what it keeps.
      step: of the checkpoint.
      progress: with the evaluation.
    """
    # The first process alone looks and writes: another would take what it has just
    # written for what was there.
    if not hosts.first_says(lambda: _add(manager, step, progress)):
        return
    manager.reload()
    for left in hosts.first_says(lambda: _not_kept(manager, policy)):
        manager.delete(left)


def _add(manager: ocp.CheckpointManager, step: int, progress: RunProgress) -> bool:
    """Writes a step's evaluation; whether there was none."""
    if manager.metrics(step):
        return False
    folder = pathlib.Path(manager.directory) / f"{CHECKPOINT}_{step}"
    write_json(folder / "metrics" / "metrics", dict(progress.evaluation))
    # Last: without it, a resumed run knows that the evaluation is still due.
    write_json(progress_file(folder), progress.to_json())
    return True


def _not_kept(
    manager: ocp.CheckpointManager, policy: checkpoint_managers.PreservationPolicy
) -> list[int]:
    """The steps of checkpoints that need not be kept."""
    found = [
        types.SimpleNamespace(step=step, metrics=manager.metrics(step))
        for step in sorted(manager.all_steps())
    ]
    context = checkpoint_managers.PreservationContext()
    kept = policy.should_preserve(found, context=context)
    return [
        checkpoint.step
        for checkpoint, keep in zip(found, kept, strict=True)
        if not keep
    ]
