"""One trial in this process: trained, evaluated, and everything of it forgotten."""

import dataclasses
import gc
import pathlib
import time
import traceback
from collections.abc import Callable, Sequence

import gin
import jax

from dro_jax.cli import train_command
from dro_jax.cli.sweep_budget import Budget
from dro_jax.cli.sweep_evaluation import SweepEvaluation
from dro_jax.cli.task_modules import forgotten_tasks
from dro_jax.errors import ConfigError, Pruned, StorageError, UserError
from dro_jax.messages import say, warn
from dro_jax.sweeps.folders import run_folder
from dro_jax.sweeps.interface import ClaimedTrial, PlannedTrial, TrialStore
from dro_jax.sweeps.names import SWEEP_DIR, filled_in, in_quotes
from dro_jax.sweeps.search_metric import value_of
from dro_jax.training.metric_writers import finished_step, read_metrics
from dro_jax.training.run_owner import InUse

_IN_USE_SECONDS = 30.0


@dataclasses.dataclass
class TrialRunner:
    """Runs trials one after another, as `dro-jax train` and `dro-jax evaluate` would.

    Attributes:
      store: where the trials are.
      folder: the sweep's.
      evaluation: how runs are evaluated; None, not at all.
      evaluated: the stages whose runs are.
      search_paths, allow_imports: as for `gin_setup.parse`.
      budget: tokens that runs of a stage train on; None, so many steps as they say.
      as_asked: a trial as it is to be begun now (`Plan.as_asked`).
    """

    store: TrialStore
    folder: pathlib.Path
    evaluation: SweepEvaluation | None
    evaluated: Sequence[str]
    search_paths: str = ""
    allow_imports: Sequence[str] = ()
    budget: Budget | None = None
    as_asked: Callable[[PlannedTrial], PlannedTrial] = lambda planned: planned

    def __call__(self, claimed: ClaimedTrial) -> None:
        """Runs a trial and ends it; an error ends it alone, and is told.

        Raises:
          Preempted, KeyboardInterrupt: the process was told to stop; the trial is given
            back, and whoever claims it goes on with it.
        """
        planned = claimed.planned
        say(f"{planned.stage} {claimed.number:04d}: {planned.label}")
        try:
            folder, value = self._run(claimed)
        except Pruned as error:
            say(f"{planned.label}: pruned: {error}")
            claimed.prune(str(error))
        except InUse as error:
            # Its worker lives, and the storage did not hear of that: it may end it yet.
            warn(f"{planned.label}: {error}")
            # Held meanwhile, so that others take another one.
            try:
                time.sleep(_IN_USE_SECONDS)
            finally:
                claimed.give_back()
        except StorageError:
            raise  # no fault of the trial's; whoever comes next goes on with it
        except UserError as error:
            self._failed(claimed, str(error))
        except (SystemExit, KeyboardInterrupt):
            claimed.give_back()
            raise
        except Exception as error:  # noqa: BLE001, the others go on
            traceback.print_exc()
            self._failed(claimed, f"{type(error).__name__}: {error}")
        else:
            claimed.complete(
                value, steps=finished_step(folder), tokens=_tokens_of(folder)
            )
        finally:
            forget()

    def _run(self, claimed: ClaimedTrial) -> tuple[pathlib.Path, float | None]:
        """Trains and evaluates; gives the run's folder, and what a search wants."""
        planned = claimed.planned
        inside = run_folder(planned.stage, claimed.number, planned.label)
        folder = self.folder / inside
        if claimed.tries == 1:  # a later one goes on with what the first began with
            planned = self.as_asked(planned)
        names = self._names(planned)
        bindings = [filled_in(own, names, in_quotes) for own in planned.bindings]
        bindings.append(f"MODEL_DIR = {str(folder)!r}")
        if self.budget is not None and planned.stage == self.budget.stage:
            bindings.append(self._budget(planned, bindings))
        with forgotten_tasks():
            train_command.train_from_gin(
                planned.gin_files,
                bindings,
                self.search_paths,
                allow_imports=self.allow_imports,
                on_metrics=claimed.report,
            )
        figures = {}
        if self.evaluation is not None and planned.stage in self.evaluated:
            forget()
            with forgotten_tasks():
                found = self.evaluation.of_run(folder, self.store.trials())
            # References come first.
            figures = {name: own.value for name, own in found.runs[-1].figures.items()}
        if planned.metric is None:
            return folder, None
        return folder, value_of(planned.metric, figures, read_metrics(folder))

    def _budget(self, planned: PlannedTrial, bindings: Sequence[str]) -> str:
        """How many steps a trial takes for its tokens, as a binding."""
        with forgotten_tasks():
            found = self.budget.binding(
                planned.key,
                planned.gin_files,
                bindings,
                search_paths=self.search_paths,
                allow_imports=self.allow_imports,
            )
        forget()
        return found

    def _names(self, planned: PlannedTrial) -> dict[str, str]:
        """The folders that `$NAME` stands for."""
        names = {SWEEP_DIR: str(self.folder)}
        known = {one.key: one for one in self.store.trials()}
        for name, key in planned.builds_on.items():
            one = known.get(key)
            if one is None or one.state != "complete":
                how = f"is {one.state}" if one is not None else "is not there"
                why = f" ({one.reason})" if one is not None and one.reason else ""
                label = f" {one.label}" if one is not None else ""
                raise ConfigError(
                    f"it builds on the run{label} of the stage {name}, which {how}{why}"
                )
            names[name] = str(self.folder / one.folder)
        return names

    def _failed(self, claimed: ClaimedTrial, reason: str) -> None:
        warn(f"{claimed.planned.label}: {reason}")
        claimed.fail(reason)


def forget() -> None:
    """Nothing of a run is left in this process: settings, programs, arrays."""
    gin.clear_config()
    jax.clear_caches()
    gc.collect()


def _tokens_of(folder: pathlib.Path) -> int | None:
    """Real tokens that a run was trained on; None where its log does not tell."""
    counts = [
        line["num_tokens"] for line in read_metrics(folder) if "num_tokens" in line
    ]
    return round(sum(counts)) if counts else None
