"""A reward model of a few steps that reads bytes, as a run leaves it."""

import dataclasses
import json

import seqio
import small
from training_runs import DATA, run

from dro_jax.objectives import RewardRegression

NETWORK = dataclasses.replace(small.NETWORK, vocab_size=384)
LENGTHS = {"inputs": 48, "targets": 40}


def make(folder):
    """Trains one; its texts may be longer than the arrays that it was trained on."""
    data = dataclasses.replace(DATA, vocabulary=seqio.ByteVocabulary())
    run(folder, RewardRegression(), steps=5, network=NETWORK, train_dataset_cfg=data)
    change(folder, lengths=LENGTHS)


def change(folder, **changes):
    """Changes settings of the reward model in a run's folder."""
    path = folder / "reward_model/settings.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
