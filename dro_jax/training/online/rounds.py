"""The rounds of a run that samples: begun in their order, or found again on disk."""

import dataclasses
import pathlib
import time
from collections.abc import Callable

import numpy as np

from dro_jax.messages import say
from dro_jax.models.networks import Params
from dro_jax.plurals import counted
from dro_jax.training import hosts
from dro_jax.training.before.prepared_run import PreparedRun
from dro_jax.training.before.run_plan import RunPlan
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.online.asked_prompts import AskedPrompts
from dro_jax.training.online.moved_reference import MovedReference
from dro_jax.training.online.needed_rounds import needed
from dro_jax.training.online.place import Place
from dro_jax.training.online.round_files import RoundFiles
from dro_jax.training.online.round_samples import RoundSamples
from dro_jax.training.online.sample_fields import SampleFields
from dro_jax.training.run_files import FRESH_SAMPLES, MOVED_REFERENCE
from dro_jax.training.run_progress import RunProgress
from dro_jax.training.state import TrainState

Tick = Callable[[], bool]


class Rounds:
    """Draws samples, keeps them, and moves the reference.

    Args:
      plan, prepared, steps: the run.
      asked: the prompts.
      model_dir: where rounds and moved references are kept.
      at: where the run is.
      saving: gives what the checkpoint says that may still be on its way to the disk.

    Attributes:
      reference: the policy that the run is anchored to now; None without one.
    """

    def __init__(
        self,
        plan: RunPlan,
        prepared: PreparedRun,
        steps: MeshSteps,
        asked: AskedPrompts,
        model_dir: str,
        at: Place,
        saving: Callable[[], RunProgress | None],
    ):
        self._model, self._steps, self._asked = plan.model, steps, asked
        self._settings, self._saving = asked.settings, saving
        self._fields = SampleFields.of(plan, prepared.train, asked, steps)
        self._model_dir = pathlib.Path(model_dir)
        facts = "; ".join(asked.identity().values())
        self._files = RoundFiles(self._model_dir / FRESH_SAMPLES, facts)
        folder = self._model_dir / MOVED_REFERENCE
        self._kept_references = MovedReference(folder, plan.model, steps)
        self._waiting: dict[int, RoundSamples] = {}
        self._seconds, self._sampled = 0.0, (0, 0)
        self.reference: Params | None = None
        if at.moved is not None:
            self.reference = self._kept_references.load(at.moved)
        elif plan.mode is not None:
            copy = prepared.step_params
            self.reference = prepared.reference.load() if copy is None else copy

    def again(self, at: Place) -> RoundSamples:
        """What is trained on of a round in which the run goes on.

        Raises:
          CheckpointError: its file is missing, damaged or another's.
        """
        return self._fields.trained_on(self._files.read(at.round))

    def begin(
        self, at: Place, state: TrainState, tick: Tick
    ) -> tuple[Place, RoundSamples] | None:
        """Begins a round: its samples, and what is known of them, are kept.

        Args:
          at: the place, at the round's start.
          state: the run's; its policy samples what is drawn now.
          tick: called once a batch; where it is true, work ends.

        Returns:
          The place in the round, and what is trained on of it; None where work ended
          early: nothing has changed then.
        """
        began, step, moved = time.monotonic(), int(state.step), at.moved
        reference = self.reference
        if self._moves(at, step):
            reference, moved = self._kept_references.move(state)
        last = at.round + self._settings.lag
        drawn = dict(self._waiting)
        for number in range(at.round, last + 1):
            if number not in drawn and number < at.drawn:
                drawn[number] = self._files.read(number)
            elif number not in drawn:
                samples = self._draw(number, state, step, tick)
                if samples is None:
                    return None
                drawn[number] = samples
                if number != at.round:
                    self._files.write(number, samples)
        drawn_then = drawn.pop(at.round)
        samples = self._fields.when_used(drawn_then, reference, state, tick)
        self._files.write(at.round, samples)
        self._waiting, self.reference = drawn, reference
        at = dataclasses.replace(
            at,
            drawn=last + 1,
            total=at.total + len(samples),
            tokens=at.tokens + int(np.sum(samples.lengths)),
            reward=float(np.mean(samples.rewards, dtype=np.float64)),
            kl=samples.kl,
            moved=moved,
        )
        trained_on = self._fields.trained_on(samples)
        # A round of which nothing is trained on ends without a step, so that what is
        # saved next may still name the one before.
        if len(trained_on):
            self._clean(at)
        self._seconds += time.monotonic() - began
        return at, trained_on

    def rates(self) -> dict[str, float]:
        """Responses and tokens a second of what was drawn since the last call."""
        if not self._seconds:
            return {}
        responses, tokens = (number / self._seconds for number in self._sampled)
        self._seconds, self._sampled = 0.0, (0, 0)
        return {
            "samples/responses_per_second": responses,
            "samples/tokens_per_second": tokens,
        }

    def _draw(
        self, number: int, state: TrainState, step: int, tick: Tick
    ) -> RoundSamples | None:
        samples = self._asked.sample(
            number, self._model, state.params, self._steps, step, tick
        )
        if samples is None:
            return None
        if number == 0:
            say(f"a round is {counted(len(samples), 'response')}")
        responses, tokens = self._sampled
        self._sampled = responses + len(samples), tokens + int(np.sum(samples.lengths))
        return self._fields.when_drawn(samples, state, tick)

    def _moves(self, at: Place, step: int) -> bool:
        every = self._settings.move_reference_every
        before = 0 if at.moved is None else at.moved["step"]
        return every is not None and step - before >= every

    def _clean(self, at: Place) -> None:
        """Deletes what no checkpoint of the run needs to go on."""

        def wanted() -> list[list[int]]:
            saving = self._saving()
            rounds, moved = needed(self._model_dir, self._settings.lag, saving)
            rounds |= set(range(at.round, at.drawn))
            moved |= {at.moved["step"]} if at.moved else set()
            return [sorted(rounds), sorted(moved)]

        rounds, moved = hosts.first_says(wanted)
        if not self._settings.keep_all:
            self._files.keep_only(rounds)
        if self._settings.move_reference_every is not None:
            self._kept_references.keep_only(moved)
