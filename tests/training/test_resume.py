"""Runs that stop and go on: the same numbers, from the same data and reference."""

import dataclasses
import os
import signal

import numpy as np
import pytest
import small
from array_data import ArrayDataset
from training_runs import DATA, HELD_OUT, run

from dro_jax.errors import CheckpointError
from dro_jax.objectives import DROP, DROV
from dro_jax.training.checkpoints import CheckpointConfig, load_params
from dro_jax.training.metric_writers import read_metrics
from dro_jax.training.preemption import Preempted
from dro_jax.training.sharding import MeshConfig


@pytest.mark.slow
def test_a_resumed_run_is_bitwise_the_uninterrupted_one(tmp_path, reference_dir):
    settings = {"initial_checkpoint_path": str(reference_dir)}
    network = dataclasses.replace(small.NETWORK, dropout_rate=0.1)
    settings |= {"network": network, "step_zero_tolerance": 100.0}
    run(tmp_path / "whole", DROV(), steps=20, **settings)
    run(tmp_path / "parts", DROV(), steps=10, **settings)
    run(tmp_path / "parts", DROV(), steps=20, **settings)
    whole, parts = load_params(tmp_path / "whole"), load_params(tmp_path / "parts")
    for a, b in zip(small.leaves(whole), small.leaves(parts), strict=True):
        np.testing.assert_array_equal(a, b)
    losses = [
        [record["loss"] for record in read_metrics(tmp_path / name)]
        for name in ("whole", "parts")
    ]
    assert losses[0] == losses[1]


@dataclasses.dataclass(frozen=True)
class Terminating(ArrayDataset):
    """Sends the process a signal with its batch of that number."""

    at: int = 0
    by: signal.Signals = signal.SIGTERM

    def batches(self, start=(0, 0), shard=(0, 1)):
        for number, batch in enumerate(super().batches(start, shard)):
            if number == self.at:
                os.kill(os.getpid(), self.by)
            yield batch


class Killing(Terminating):
    """Ends the run without ceremony instead."""

    def batches(self, start=(0, 0), shard=(0, 1)):
        for number, batch in enumerate(ArrayDataset.batches(self, start, shard)):
            if number == self.at:
                raise RuntimeError("killed")
            yield batch


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "held_out", "saved", "by", "code"),
    [
        # Between two lines of the log.
        (Terminating(at=7, by=signal.SIGINT), HELD_OUT, 8, "Ctrl-C", 130),
        # In an evaluation.
        (DATA, Terminating(**vars(HELD_OUT)), 10, "SIGTERM", 143),
    ],
)
def test_a_signal_saves_and_the_next_run_is_the_same(
    tmp_path, data, held_out, saved, by, code
):
    settings = {"steps": 20, "train_eval_dataset_cfg": HELD_OUT}
    settings |= {"checkpoint_cfg": CheckpointConfig(period=100)}
    run(tmp_path / "whole", **settings)
    changed = {"train_dataset_cfg": data, "train_eval_dataset_cfg": held_out}
    with pytest.raises(Preempted, match=f"{by} after step {saved}") as caught:
        run(tmp_path / "parts", **(settings | changed))
    assert caught.value.code == code
    # Killed once more, before it saves anything.
    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path / "parts", **settings, train_dataset_cfg=Killing(at=2))
    run(tmp_path / "parts", **settings)
    whole, parts = load_params(tmp_path / "whole"), load_params(tmp_path / "parts")
    for a, b in zip(small.leaves(whole), small.leaves(parts), strict=True):
        np.testing.assert_array_equal(a, b)
    assert timeless(tmp_path / "whole") == timeless(tmp_path / "parts")


def test_an_evaluation_cut_short_on_a_saved_step_ranks_it_when_it_is_done(tmp_path):
    settings = {"train_eval_dataset_cfg": HELD_OUT, "eval_period": 5}
    # The loss falls, so that by this measure the first evaluation is the best.
    config = CheckpointConfig(period=5, keep=1, best_mode="max")
    settings |= {"checkpoint_cfg": config, "steps": 15}
    with pytest.raises(Preempted, match="after step 5: its state is saved"):
        changed = {"train_eval_dataset_cfg": Terminating(**vars(HELD_OUT))}
        run(tmp_path, **(settings | changed))
    run(tmp_path, **settings)
    losses = {r["step"]: r["eval/loss"] for r in read_metrics(tmp_path)}
    assert max(losses, key=losses.get) == 5
    kept = {path.name for path in tmp_path.glob("checkpoint_*")}
    assert kept == {"checkpoint_5", "checkpoint_15"}


def timeless(folder):
    """The log without what depends on the clock."""
    return [
        {name: x for name, x in record.items() if not name.endswith("per_second")}
        for record in read_metrics(folder)
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"train_dataset_cfg": ArrayDataset(seed=5)},
            "records: 48 from seed 0 → 48 from",
        ),
        ({"train_dataset_cfg": ArrayDataset(bad_reward=2.0)}, "rewards: None → 2.0"),
    ],
)
def test_a_run_does_not_go_on_with_other_data(tmp_path, change, message):
    run(tmp_path, steps=5)
    with pytest.raises(CheckpointError, match=message):
        run(tmp_path, steps=10, **change)


@pytest.mark.slow
def test_a_run_does_not_go_on_from_another_reference(tmp_path, reference_dir):
    settings = {"objective": DROP(), "reference": "frozen_copy"}
    run(tmp_path, initial_checkpoint_path=str(reference_dir), steps=5, **settings)
    earlier = reference_dir / "checkpoint_55"
    with pytest.raises(CheckpointError, match="reference parameters: [0-9a-f]+ →"):
        run(tmp_path, initial_checkpoint_path=str(earlier), steps=10, **settings)


def test_a_checkpoint_restores_on_another_mesh(tmp_path):
    run(tmp_path / "whole", steps=20)
    run(tmp_path / "moved", steps=10)
    run(tmp_path / "moved", steps=20, mesh=MeshConfig(data=4, model=2, fsdp=True))
    whole, moved = read_metrics(tmp_path / "whole"), read_metrics(tmp_path / "moved")
    assert [record["step"] for record in moved] == [5, 10, 15, 20]
    for a, b in zip(whole, moved, strict=True):
        np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-4)
        np.testing.assert_allclose(a["rewards/mean"], b["rewards/mean"])
