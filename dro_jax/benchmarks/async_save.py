"""What saving in the background costs the steps that run meanwhile."""

import pathlib
import tempfile

import jax

from dro_jax.benchmarks import workload
from dro_jax.benchmarks.timing import Figure, Figures, in_turn, ratio
from dro_jax.objectives import DROV
from dro_jax.training.checkpoints import CheckpointConfig, Checkpointer
from dro_jax.training.run_progress import RunProgress

STEPS_A_SAVE = 24  # half a minute: nobody saves more often


def measure(rounds: int) -> Figures:
    """Steps with one save among them against as many without."""
    plan = workload.plan(DROV())
    batches = workload.batches(plan, STEPS_A_SAVE)
    steps = workload.steps(plan, batches[0])
    plain, saving = workload.Trainer(steps), workload.Trainer(steps)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(saving.state))
    with tempfile.TemporaryDirectory() as folder:
        checkpointer = Checkpointer(
            pathlib.Path(folder) / "saves", CheckpointConfig(keep=2), ranked=False
        )

        def run_and_save():
            saving.run(batches[:1])
            checkpointer.save(saving.state, RunProgress())
            saving.run(batches[1:])
            checkpointer.wait()  # a save that outlasts its steps counts too

        times = in_turn(run_and_save, lambda: plain.run(batches), rounds=rounds)
        checkpointer.close()
    slower = ratio(*times)
    return {
        "async_save.overhead": Figure(
            slower.median - 1, slower.low - 1, slower.high - 1
        ),
        "async_save.steps_between_saves": Figure.exact(STEPS_A_SAVE),
        "async_save.megabytes": Figure.exact(size / 1e6),
    }
