"""`dro-jax train`."""

import functools
import pathlib
import shlex
from collections.abc import Sequence

import gin

from dro_jax.cli import (
    gin_allow,
    gin_setup,
    model_folder,
    same_settings,
    vocabulary_size,
)
from dro_jax.cli.configuration_diff import Configuration
from dro_jax.data.modules import module_names
from dro_jax.messages import say
from dro_jax.plurals import counted
from dro_jax.training import hosts
from dro_jax.training.before.checks import local_folder
from dro_jax.training.metric_writers import finished_step
from dro_jax.training.run_files import REWARD_MODEL
from dro_jax.training.run_owner import owned
from dro_jax.training.train import train
from dro_jax.training.watched_metrics import OnMetrics


def run(arguments) -> None:
    """Train what the gin files describe."""
    train_from_gin(
        arguments.gin_file,
        arguments.gin_bindings,
        arguments.gin_search_paths,
        allow_imports=arguments.allow_import,
        overwrite=arguments.overwrite,
        allow_change=module_names(arguments.allow_change),
        dry_run=arguments.dry_run,
        reference_share=arguments.reference_share,
    )
    if arguments.dry_run or arguments.reference_share:
        return
    folder = local_folder(gin_setup.macro("MODEL_DIR"))
    if pathlib.Path(folder, REWARD_MODEL).is_dir():
        lines = what_next_of_reward_model(folder)
    else:
        lines = what_next(
            folder, gin_setup.macro("MIXTURE_OR_TASK_MODULE"), arguments.allow_import
        )
    for line in lines:
        say(line)


def what_next(
    folder: str, modules: str | Sequence[str] | None, allowed: Sequence[str]
) -> list[str]:
    """Where the model is, and how it is used.

    Args:
      folder: `MODEL_DIR`.
      modules: those that register the task; the folder's config.gin names them, so that
        one's own must be allowed.
      allowed: what the run was allowed to import.
    """
    known = gin_allow.AllowList()
    own = [name for name in module_names(modules) if not known.permits_module(name)]
    flags = [
        f"--model_dir={shlex.quote(folder)}",
        "--input=FILE --output=FILE",
        *(f"--allow_import={name}" for name in dict.fromkeys([*allowed, *own])),
    ]
    return [
        "the model is in",
        f"  {folder}",
        "to use it:",
        *(f"  dro-jax {name} {' '.join(flags)}" for name in ("generate", "score")),
    ]


def what_next_of_reward_model(folder: str) -> list[str]:
    """Where a reward model is, and how it is used."""
    setting = f"--gin.REWARD_MODEL_DIR={shlex.quote(repr(folder))}"
    flags = f"--gin_file=gin_configs/rewards/reward_model.gin {setting}"
    return [
        "the reward model is in",
        f"  {folder}",
        "to see how far it agrees with a task's rewards:",
        f"  dro-jax calibrate {flags} --task=NAME --output_dir=DIR",
        "as the reward of other commands:",
        f"  {flags}",
    ]


def train_from_gin(
    files: Sequence[str],
    bindings: Sequence[str],
    search_paths: str = "",
    *,
    allow_imports: Sequence[str] = (),
    overwrite: bool = False,
    allow_change: Sequence[str] = (),
    dry_run: bool = False,
    reference_share: str | None = None,
    on_metrics: OnMetrics | None = None,
) -> None:
    """Parse, keep the configuration as `MODEL_DIR/config.gin`, and train.

    Args:
      files: as those of `gin_setup.parse`, like the next two and `allow_imports`.
      bindings: `NAME = VALUE`.
      search_paths: folders, comma-separated.
      allow_imports: modules that the files may use beside the usual ones.
      overwrite: delete the run that `MODEL_DIR` holds, if any.
      allow_change: settings that a run which goes on may change (`model_folder.prepare`).
      dry_run: print what would be done; nothing is trained or written.
      reference_share: as for `train`; nothing is trained or written to `MODEL_DIR`.
      on_metrics: as for `train`; not called where the run is finished already.

    Raises:
      ConfigError: as `gin_setup.parse`, or `MODEL_DIR` holds a run that another
        configuration made, or one that is being trained.
    """
    gin_setup.parse(files, bindings, search_paths, allow_imports)
    folder = pathlib.Path(local_folder(gin_setup.macro("MODEL_DIR")))
    if dry_run:
        vocabulary_size.settle(None if overwrite else folder)
        model_folder.check(folder, gin.config_str(), overwrite, allow_change)
        print(gin.config_str())
        gin_setup.call(train, dry_run=print)
        return
    if reference_share is not None:
        vocabulary_size.settle(folder)
        gin_setup.call(train, reference_share=reference_share)
        return
    with owned(folder):
        vocabulary_size.settle(None if overwrite else folder)
        same_settings.check(gin.config_str())
        # By one process for all, or two would prepare it one through the other.
        hosts.first_says(
            functools.partial(
                model_folder.prepare,
                folder,
                gin.config_str(),
                overwrite=overwrite,
                allow_change=allow_change,
            )
        )
        written = Configuration.parse(gin.config_str(), "the configuration")
        steps = written.value("dro_jax.training.train.train.total_steps")
        done = hosts.first_says(functools.partial(finished_step, folder))
        if done is not None and isinstance(steps, int) and done >= steps:
            say(
                f"this run is finished: it has done {counted(done, 'step')}, and TRAIN_STEPS is "
                f"{steps:,}. Nothing is done now; raise TRAIN_STEPS to go on, or begin anew "
                "with --overwrite"
            )
            return
        gin_setup.call(train, on_metrics=on_metrics)
