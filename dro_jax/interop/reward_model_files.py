"""A reward model on disk: what `dro-jax train` keeps of it for those who score.

`MODEL_DIR/reward_model/` holds `settings.json`, the network's sizes and how texts become
tokens, and the vocabulary's file; the parameters are those of a `checkpoint_N` beside.
Nothing that is read here is ever called: no gin file, no module.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from dro_jax.errors import CheckpointError, UserError
from dro_jax.interop import formats
from dro_jax.interop.policy_digest import digest_of_leaves
from dro_jax.interop.reward_model_folder import FOLDER, SETTINGS
from dro_jax.interop.stored_model import Leaf, Leaves
from dro_jax.interop.t5x_orbax import orbax_leaves
from dro_jax.models.reward_network import RewardConfig
from dro_jax.models.t5_config import T5Config
from dro_jax.whole_files import write_json

_TARGET = "target/"
_VERSION = 1
# What changes how a network is trained or computed, and none of its numbers.
# The last is of logits, of which a reward model has none.
_OF_TRAINING = ("dropout_rate", "remat_policy", "attention", "logits_dtype")


@dataclasses.dataclass(frozen=True)
class RewardModelSettings:
    """What a reward model's scores depend on beside its parameters.

    Attributes:
      network: the encoder's sizes.
      reward: how scores are read from it.
      lengths: the most tokens of `inputs` and `targets`.
      truncation: which side is cut of each, `left` or `right`.
      vocabulary: as `dro_jax.data.kept_vocabulary` has it.
      objective: what it was trained with, by its class's name.
      rewards: figures of the rewards that it was trained on, by task.
    """

    network: T5Config
    reward: RewardConfig
    lengths: Mapping[str, int]
    truncation: Mapping[str, str]
    vocabulary: Mapping[str, Any]
    objective: str
    rewards: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def write(self, folder: pathlib.Path) -> None:
        """Writes them into a folder, whole."""
        network = dataclasses.asdict(self.network)
        for name in ("dtype", "logits_dtype"):
            network[name] = str(np.dtype(network[name]))
        content = dataclasses.asdict(self) | {"network": network}
        write_json(folder / SETTINGS, {"version": _VERSION, **content})

    @classmethod
    def read(cls, folder: pathlib.Path) -> Self:
        """What :meth:`write` wrote.

        Raises:
          CheckpointError: a file is missing or damaged, or of a later version.
        """
        path = folder / SETTINGS
        try:
            content = json.loads(path.read_text("utf-8"))
            if content.pop("version") != _VERSION:
                raise ValueError("it is of another version of dro_jax")
            # As it is computed best where it is read.
            free = {"remat_policy": "none", "dropout_rate": 0.0, "attention": "auto"}
            content["network"] = T5Config(**content["network"] | free)
            content["reward"] = RewardConfig(**content["reward"])
            return cls(**content)
        except FileNotFoundError as error:
            raise CheckpointError(
                f"{folder.parent} is no reward model: it has no {FOLDER}/{SETTINGS}, "
                "which `dro-jax train` writes with the objectives reward_regression and "
                "bradley_terry"
            ) from error
        except (OSError, ValueError, KeyError, TypeError, UserError) as error:
            raise CheckpointError(f"{path} cannot be read ({error})") from error

    def digest_text(self) -> str:
        """All that scores depend on, as text in one order."""
        network = dataclasses.asdict(self.network)
        for name in _OF_TRAINING:
            del network[name]
        said = [network, self.reward, self.lengths, self.truncation, self.vocabulary]
        return json.dumps(said, sort_keys=True, default=str)


@dataclasses.dataclass(frozen=True)
class StoredRewardModel:
    """A reward model in a run's folder.

    Attributes:
      folder: `MODEL_DIR/reward_model`.
      checkpoint: the folder of its parameters.
      settings: as they lie there.
      params: its parameters, encoder, embedding, pool and head, by their names.
    """

    folder: pathlib.Path
    checkpoint: str
    settings: RewardModelSettings
    params: Leaves

    def fingerprint(self) -> str:
        """A digest of the parameters and of all else that scores depend on."""
        return digest_of_leaves(self.params, self.settings.digest_text())


def open_reward_model(
    model_dir: str | pathlib.Path, step: int | None = None
) -> StoredRewardModel:
    """A reward model that `dro-jax train` made.

    Args:
      model_dir: the run's folder.
      step: of the checkpoint; None, the newest.

    Raises:
      CheckpointError: there is none, or it cannot be read.
    """
    run = pathlib.Path(model_dir).expanduser()
    settings = RewardModelSettings.read(run / FOLDER)
    path = run if step is None else run / f"checkpoint_{step}"
    _, checkpoint = formats.locate(path)
    params: dict[str, Leaf] = {
        name.removeprefix(_TARGET): leaf
        for name, leaf in orbax_leaves(checkpoint).items()
        if name.startswith(_TARGET)
    }
    return StoredRewardModel(run / FOLDER, checkpoint, settings, params)
