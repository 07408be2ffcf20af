"""The reference of a run that moves it: kept by the run, found again when it goes on."""

import dataclasses
import functools
import pathlib
import shutil
from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp

from dro_jax.errors import CheckpointError
from dro_jax.interop.policy_digest import digest_of
from dro_jax.messages import say
from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import Params
from dro_jax.paths import checkpoint_step
from dro_jax.training import hosts, initialization
from dro_jax.training.checkpoints import CheckpointConfig, Checkpointer
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.run_files import CHECKPOINT
from dro_jax.training.run_progress import RunProgress
from dro_jax.training.state import TrainState


@dataclasses.dataclass(frozen=True)
class MovedReference:
    """Keeps policies that became the reference, as checkpoints in a folder.

    Attributes:
      folder: where; `MODEL_DIR/moved_reference`.
      model: whose policies they are.
      steps: where parameters live.
    """

    folder: pathlib.Path
    model: FeedbackModel
    steps: MeshSteps

    def move(self, state: TrainState) -> tuple[Params, dict[str, Any]]:
        """Keeps a state's policy, before any step is anchored to it.

        Args:
          state: the run's, which its next step may overwrite.

        Returns:
          A copy on the devices, and what :meth:`load` finds it by, as JSON holds it.
        """
        step = int(state.step)
        with self.steps.partitioner.context():
            policy = self._copy(self.model.policy_params(state.params))
        # What a run that went on from before had kept: later ones are none of ours.
        self._delete(lambda kept: kept >= step)
        kept = Checkpointer(self.folder, CheckpointConfig(keep=None), ranked=False)
        # Over several hosts a number of one's own cannot be saved.
        own = hosts.count() == 1
        number = jnp.int32(step) if own else state.step
        kept.save(TrainState(number, policy, {}), RunProgress())
        kept.close()
        path = self._path(step)
        digest = hosts.first_says(lambda: digest_of(str(path)))
        say(f"step {step}: the policy is now the reference, kept in {path}")
        return policy, {"step": step, "digest": digest}

    def load(self, moved: dict[str, Any]) -> Params:
        """The policy that :meth:`move` kept.

        Raises:
          CheckpointError: it is not there, or is another.
        """
        path = self._path(moved["step"])

        def check() -> None:
            if not path.is_dir():
                raise CheckpointError(
                    f"{path} is missing: the run goes on with the policy of step "
                    f"{moved['step']} as its reference. Put the folder back, or start "
                    "anew in another MODEL_DIR"
                )
            if (found := digest_of(str(path))) != moved["digest"]:
                raise CheckpointError(
                    f"{path} holds another policy ({found}) than that which became the "
                    f"run's reference ({moved['digest']}): put that back, or start anew "
                    "in another MODEL_DIR"
                )

        hosts.first_says(check)
        return initialization.load_policy_params(
            self.model.network_config,
            path,
            self.steps.reference_layout,
            self._shardings,
        )

    def keep_only(self, steps: Collection[int]) -> None:
        """Deletes the policies of all other steps."""
        self._delete(lambda step: step not in steps)

    @property
    def _shardings(self) -> Any:
        return jax.tree.map(lambda leaf: leaf.sharding, self.steps.reference_layout)

    @functools.cached_property
    def _copy(self) -> Any:
        """Compiled once, however often the reference moves."""
        return jax.jit(
            lambda tree: jax.tree.map(jnp.copy, tree), out_shardings=self._shardings
        )

    def _path(self, step: int) -> pathlib.Path:
        return self.folder / f"{CHECKPOINT}_{step}"

    def _delete(self, which) -> None:
        def delete() -> None:
            for path in self.folder.glob(f"{CHECKPOINT}_*"):
                step = checkpoint_step(path.name)
                if step is not None and which(step):
                    shutil.rmtree(path)

        hosts.first_says(delete)
