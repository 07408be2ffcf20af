"""`dro-jax sweep`: a plan's trials run, evaluated and compared."""

import contextlib
import os
import pathlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence

from dro_jax import exit_codes
from dro_jax.cli.sweep_budget import Budget
from dro_jax.cli.sweep_evaluation import SweepEvaluation
from dro_jax.cli.sweep_plan import Plan
from dro_jax.cli.sweep_table import plan_table, stages_table, trials_table
from dro_jax.cli.sweep_trial import TrialRunner, forget
from dro_jax.cli.sweep_workers import command_of, run_workers
from dro_jax.errors import ConfigError
from dro_jax.evaluation import comparison_table
from dro_jax.messages import note, say
from dro_jax.paths import make_folder
from dro_jax.plurals import counted
from dro_jax.reporting.swept.report import write_sweep_report
from dro_jax.sweeps.interface import TrialStore
from dro_jax.sweeps.progress import shown_progress
from dro_jax.sweeps.progress_table import best_so_far
from dro_jax.sweeps.results import SweepResults, SweptTrial
from dro_jax.sweeps.trial_store import open_store
from dro_jax.sweeps.work import work
from dro_jax.training.preemption import Preempted
from dro_jax.training.turns import in_turn

_MOST_COLUMNS = 6  # of a terminal's table; the page shows any number


def run(arguments) -> int:
    """Plan, run what is left, and tell of all.

    Returns:
      0, or 2 where a trial failed.
    """
    worker, count = arguments.worker, arguments.workers
    if worker is not None:
        worker.follow_parent()
    given = arguments.gin_search_paths, arguments.allow_import
    plan = arguments.plan  # by `early_checks`
    sweep = plan.sweep
    folder = pathlib.Path(os.path.abspath(arguments.output_dir))
    if arguments.dry_run:
        print(plan_table(plan, folder))
        return exit_codes.DONE.number
    if worker is None:
        say(stages_table(plan, folder))
    make_folder(folder, "--output_dir")
    plan.searches.folder = folder
    log = worker and worker.log
    store = open_store(
        arguments.storage, folder, sweep.name, hooks=plan.searches, log=log
    )

    if arguments.retry_failed and worker is None:
        say(f"{counted(store.again(plan.keys), 'trial')} that failed, once more")

    def run_them(tell: Callable[[], None]) -> None:
        run_workers(
            count,
            *command_of(arguments),
            folder,
            unfinished=lambda: sum(
                store.unfinished(stage, keys) for stage, keys in plan.asked.items()
            ),
            tell=tell,
        )

    progress = None
    if worker is None:
        progress = shown_progress(
            lambda: planned_trials(plan, store),
            folder,
            sweep,
            workers=count,
            quiet=arguments.quiet,
        )
    return run_plan(
        plan,
        store,
        folder,
        *given,
        workers=run_them if count > 1 else None,
        finishes=worker is None,
        progress=progress,
    )


def run_plan(
    plan: Plan,
    store: TrialStore,
    folder: pathlib.Path,
    search_paths: str = "",
    allow_imports: Sequence[str] = (),
    *,
    workers: Callable[[Callable[[], None]], None] | None = None,
    finishes: bool = True,
    progress: contextlib.AbstractContextManager | None = None,
) -> int:
    """Runs what a storage lacks of a plan, and compares all of it.

    Args:
      plan: its trials are added to the storage, those that are not there.
      store: the storage.
      folder: the sweep's.
      search_paths, allow_imports: as for `gin_setup.parse`.
      workers: runs the trials in other processes, and calls what it is given now and
        then; None, this process runs them.
      finishes: whether to compare them; not one of several workers of a process.
      progress: shows how far they are, while they run.

    Returns:
      The command's status.
    """
    new = store.add([one for own in plan.trials.values() for one in own])
    total = sum(map(len, plan.trials.values()))
    say(f"{counted(total, 'trial')}, {new} of them new")
    evaluation = None
    if plan.sweep.evaluation is not None:
        evaluation = SweepEvaluation(
            plan.sweep.evaluation, folder, search_paths, allow_imports
        )
    runner = TrialRunner(
        store,
        folder,
        evaluation,
        [stage.name for stage in plan.sweep.stages if stage.evaluated],
        search_paths,
        allow_imports,
        _budget(plan, folder),
        plan.as_asked,
    )

    def run_and_tell(claimed) -> None:
        runner(claimed)
        write_results(plan, store, folder)

    with _stopping():
        write_results(plan, store, folder)
        with progress or contextlib.nullcontext():
            if workers is not None:
                workers(lambda: write_results(plan, store, folder))
            else:
                work(store, plan.asked, run_and_tell)
        if not finishes:
            return exit_codes.DONE.number
        return finish(plan, store, folder, evaluation)


def _budget(plan: Plan, folder: pathlib.Path) -> Budget | None:
    tokens = plan.sweep.budget_tokens
    return tokens and Budget(plan.stages[-1], tokens, folder / "steps")


def finish(
    plan: Plan,
    store: TrialStore,
    folder: pathlib.Path,
    evaluation: SweepEvaluation | None,
) -> int:
    """Judges all runs that are done, and writes and prints what is known of them."""
    results = write_results(plan, store, folder)
    if evaluation is not None:
        with in_turn(folder / "report", "the sweep's report"):
            _judge(plan, results, folder, evaluation)
            _write_page(results, folder)
    print(trials_table(results))
    for (stage, value), best in best_so_far(plan.sweep, results.trials).items():
        print(f"best of {stage}{'' if value is None else f', {value}'}: {best}")
    failed = [one for one in results.trials if one.state == "failed"]
    return exit_codes.REFUSED.number if failed else exit_codes.DONE.number


def _judge(
    plan: Plan,
    results: SweepResults,
    folder: pathlib.Path,
    evaluation: SweepEvaluation,
) -> None:
    last = plan.sweep.stages[-1].name
    done = [
        folder / one.folder
        for one in results.trials
        if one.stage == last and one.state == "complete"
    ]
    if not done:
        say("no run is complete, so that nothing is compared")
        return
    found = evaluation.of_all(done, results.trials)
    if len(found.runs) <= _MOST_COLUMNS:
        print(comparison_table.table(found.runs))
    forget()


def _write_page(results: SweepResults, folder: pathlib.Path) -> None:
    try:
        page = write_sweep_report(results, folder, folder / "report")
    except ConfigError as error:
        note(f"no report is written: {error}")
    else:
        print(f"written: {page}, with report.json, tables/ and figures/ beside")


def write_results(plan: Plan, store: TrialStore, folder: pathlib.Path) -> SweepResults:
    """Writes `sweep.json` of the plan's trials, and gives them."""
    trials = planned_trials(plan, store)
    results = SweepResults(
        name=plan.sweep.name,
        compared=plan.sweep.compared,
        stages=tuple(plan.stages),
        trials=tuple(trials),
        conditions=tuple(plan.sweep.conditions),
    )
    results.write(folder)
    return results


def planned_trials(plan: Plan, store: TrialStore) -> list[SweptTrial]:
    """The plan's trials as they stand."""
    # Those of another version of the same file are no part of what is compared.
    keys = plan.keys
    return [plan.as_told(one) for one in store.trials() if one.key in keys]


@contextlib.contextmanager
def _stopping() -> Iterator[None]:
    """SIGTERM ends the process in good order, also where no run listens to it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_) -> None:
        raise Preempted(
            "stopped by SIGTERM: the same command goes on where it was",
            exit_codes.PREEMPTED.number,
        )

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
