"""What a run of a reward model leaves beside its checkpoints, for those who score."""

import pathlib

from dro_jax.data.interface import HostBatch
from dro_jax.data.kept_vocabulary import keep_vocabulary
from dro_jax.interop.reward_model_files import RewardModelSettings
from dro_jax.interop.reward_model_folder import FOLDER
from dro_jax.models.shared_prompts import group_size
from dro_jax.training.before.run_plan import RunPlan


def keep_reward_model(model_dir: str, plan: RunPlan, batch: HostBatch) -> None:
    """Writes `MODEL_DIR/reward_model`.

    Args:
      model_dir: the run's folder.
      plan: the run.
      batch: one of its batches, whose rows are as long as its texts may be.
    """
    folder = pathlib.Path(model_dir) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    dataset, model = plan.data.train, plan.model
    facts = dataset.facts()
    # Tasks of a mixture that differ in this are read as the first.
    reading = next(iter(facts.values()), {}).get("reading", {})
    lengths = {
        "inputs": batch["encoder_input_tokens"].shape[1],
        "targets": batch["decoder_target_tokens"].shape[1] // group_size(batch),
    }
    sides = {"inputs": "left", "targets": "right"}
    RewardModelSettings(
        network=model.network_config,
        reward=model.reward_config,
        lengths={n: reading.get(n, {}).get("length", x) for n, x in lengths.items()},
        truncation={n: reading.get(n, {}).get("cut", x) for n, x in sides.items()},
        vocabulary=_vocabulary(dataset.vocabulary, folder),
        objective=type(model.objective).__name__,
        rewards={name: x["rewards"] for name, x in facts.items() if "rewards" in x},
    ).write(folder)


def _vocabulary(vocabulary, folder: pathlib.Path) -> dict:
    if vocabulary is None:
        return {"kind": "other", "name": "tokens made elsewhere"}
    return keep_vocabulary(vocabulary, folder)
