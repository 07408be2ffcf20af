"""How many steps a trial takes for so many tokens, known before it starts."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence

import numpy as np

from dro_jax.cli import gin_setup, vocabulary_size
from dro_jax.data.interface import HostBatch
from dro_jax.errors import DataError
from dro_jax.messages import say
from dro_jax.training.before.prepared_run import prepare_run
from dro_jax.training.preemption import listening
from dro_jax.training.run_settings import RunSettings
from dro_jax.training.run_steps import plan_of, steps_of
from dro_jax.training.train import train
from dro_jax.whole_files import write_json

# Of a trial whose steps are not known yet; no run counts so far.
_MANY = 1_000_000_000


@dataclasses.dataclass(frozen=True)
class Budget:
    """Tokens that each run of a stage trains on.

    Attributes:
      stage: its name.
      tokens: real ones, prompts' and responses', padding aside: `num_tokens` of a log.
      folder: where the steps of each trial are kept, so that a run that goes on has
        those that it began with.
    """

    stage: str
    tokens: int
    folder: pathlib.Path

    def binding(
        self, key: str, files: Sequence[str], bindings: Sequence[str], **given
    ) -> str:
        """`TRAIN_STEPS = N` for a trial.

        Args:
          key: the trial's.
          files, bindings: of its run, `MODEL_DIR` among them.
          **given: `search_paths` and `allow_imports` of `gin_setup.parse`.

        Raises:
          UserError: the run cannot be prepared.
        """
        kept = self.folder / f"{key}.json"
        try:
            return f"TRAIN_STEPS = {json.loads(kept.read_text('utf-8'))['steps']}"
        except (OSError, ValueError, KeyError, TypeError):
            pass  # not counted yet, or damaged
        # What is said last holds, here and where the run is trained.
        gin_setup.parse(files, [*bindings, f"TRAIN_STEPS = {_MANY}"], **given)
        vocabulary_size.settle(None)
        steps, tokens = gin_setup.call(train, instead=self._counted)
        say(f"{steps:,} steps train on {tokens:,} tokens")
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(kept, {"steps": steps, "tokens": tokens})
        return f"TRAIN_STEPS = {steps}"

    def _counted(self, run: RunSettings) -> tuple[int, int]:
        """Steps whose batches hold the tokens, and how many these hold."""
        # Imported late, as by the trainer.
        import jax

        plan = plan_of(run)
        data = plan.data.train
        if plan.model.objective.needs.leftover or run.data.sampling != "none":
            # What is drawn depends on what is computed of the reference, which is kept.
            with listening() as stop:
                first = next(data.batches())
                steps = steps_of(plan, run.updates, first, jax.random.key(0))
                data = prepare_run(plan, steps, stop=stop).train
        tokens = 0
        for steps, batch in enumerate(data.batches(), 1):
            tokens += _tokens_in(batch)
            if tokens >= self.tokens:
                return steps, tokens
        raise DataError(
            f"the training data hold {tokens:,} tokens, and Sweep.budget_tokens is "
            f"{self.tokens:,}"
        )


def _tokens_in(batch: HostBatch) -> int:
    """As a run counts them."""
    prompts = np.count_nonzero(batch["encoder_input_tokens"])
    return int(prompts + np.count_nonzero(batch["decoder_target_tokens"]))
