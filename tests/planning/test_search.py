"""What is tried where a run does not fit, and when that ends."""

import dataclasses

import jax
import pytest
from small import NETWORK

from dro_jax.data.dataset import DatasetConfig
from dro_jax.errors import ConfigError
from dro_jax.models.model import FeedbackModel
from dro_jax.objectives import KTO
from dro_jax.planning.memory import MemoryUse
from dro_jax.planning.planned_run import Compilation, planned
from dro_jax.planning.report import PlanReport
from dro_jax.planning.search import (
    Change,
    Start,
    advice,
    changes,
    has_enough,
    left_out,
    search,
)
from dro_jax.planning.topologies import Slice
from dro_jax.training.checkpoints import CheckpointConfig
from dro_jax.training.optimizers import OptimizerConfig, adafactor
from dro_jax.training.run_settings import (
    Periods,
    ReferenceSettings,
    RunData,
    RunSettings,
    Updates,
)
from dro_jax.training.sharding import MeshConfig


def traced(remat="none", rows=16, **updates):
    """A run on 8 devices, traced and not compiled."""
    network = dataclasses.replace(NETWORK, remat_policy=remat)
    data = DatasetConfig("no_such_task", {"inputs": 6, "targets": 4}, batch_size=rows)
    run = RunSettings(
        FeedbackModel(network=network, objective=KTO()),
        model_dir="unused",
        total_steps=1,
        data=RunData(data),
        reference=ReferenceSettings(),
        updates=Updates(OptimizerConfig(adafactor(), lambda step: 1e-4), **updates),
        periods=Periods(1, 1, 1),
        checkpoints=CheckpointConfig(),
    )
    devices = Slice(None, jax.devices())
    return planned(run, devices), devices


def report(run, devices, temporary=200):
    memory = MemoryUse(0, temporary, 0, 100)
    return PlanReport(run, devices, Compilation(memory, 0.0, None), None, None)


@pytest.fixture(scope="module")
def base():
    return report(*traced())


START = Start(data=8, model=1, rows=16, microbatches=1, fsdp=False, remat="none")


def test_changes_add_up_in_an_order_and_leave_out_what_does_not_divide(base):
    assert Start.of(base.run.run, base.devices) == START
    assert [change.flags() for change in changes(START)] == [
        "--gin.FSDP=True",
        "--gin.FSDP=True --gin.REMAT_POLICY=minimal",
        "--gin.FSDP=True --gin.REMAT_POLICY=full",
        # 16 rows over 8 devices: two parts, and four of them only over four.
        "--gin.FSDP=True --gin.REMAT_POLICY=full --gin.NUM_MICROBATCHES=2",
        "--gin.FSDP=True --gin.REMAT_POLICY=full --gin.MODEL_PARALLEL=2",
        *(
            f"--gin.FSDP=True --gin.REMAT_POLICY=full --gin.NUM_MICROBATCHES={parts} "
            "--gin.MODEL_PARALLEL=2"
            for parts in (2, 4)
        ),
        "--gin.FSDP=True --gin.REMAT_POLICY=full --gin.MODEL_PARALLEL=4",
        *(
            f"--gin.FSDP=True --gin.REMAT_POLICY=full --gin.NUM_MICROBATCHES={parts} "
            "--gin.MODEL_PARALLEL=4"
            for parts in (2, 4, 8)
        ),
        "--gin.FSDP=True --gin.REMAT_POLICY=full --gin.MODEL_PARALLEL=8",
        *(
            f"--gin.FSDP=True --gin.REMAT_POLICY=full --gin.NUM_MICROBATCHES={parts} "
            "--gin.MODEL_PARALLEL=8"
            for parts in (2, 4, 8)
        ),
    ]


def test_what_a_run_does_already_is_not_advised():
    start = Start(2, 4, rows=16, microbatches=8, fsdp=True, remat="full")
    assert [change.flags() for change in changes(start)] == [
        "--gin.MODEL_PARALLEL=8",
        "--gin.NUM_MICROBATCHES=16 --gin.MODEL_PARALLEL=8",
    ]
    run = traced(
        "full", mesh=MeshConfig(fsdp=True, model=8), rows=2, num_microbatches=2
    )
    assert "larger slice" in advice(report(*run))


def test_layers_are_split_first_where_the_batch_does_not_divide():
    start = dataclasses.replace(START, rows=4, remat="minimal")
    assert not start.divides
    flags = [change.flags() for change in changes(start)]
    assert flags[:4] == [
        "--gin.MODEL_PARALLEL=2",
        "--gin.FSDP=True --gin.MODEL_PARALLEL=2",
        "--gin.FSDP=True --gin.REMAT_POLICY=full --gin.MODEL_PARALLEL=2",
        "--gin.FSDP=True --gin.REMAT_POLICY=full --gin.MODEL_PARALLEL=4",
    ]
    assert all("MODEL_PARALLEL" in each for each in flags)
    told = []
    found = search(dataclasses.replace(start, microbatches=3), None, told.append)
    assert found.found is None and not found.tried
    assert len(told) == 1 and "BATCH_SIZE = 4 does not divide: the run as it" in told[0]
    assert Change(model=2, microbatches=2) in left_out(start)


def test_the_first_with_a_tenth_to_spare_is_found(base):
    sizes = iter((150, 95, 80, 20))
    told = []
    found = search(
        START, lambda change: report(base.run, base.devices, next(sizes)), told.append
    )
    change, better = found.found
    assert change == Change(fsdp=True, remat="full")
    assert has_enough(better)
    assert len(found.tried) == 3
    assert told[0] == (
        "left out, as BATCH_SIZE = 16 does not divide: --gin.NUM_MICROBATCHES=4; "
        "--gin.NUM_MICROBATCHES=8; --gin.NUM_MICROBATCHES=8 --gin.MODEL_PARALLEL=2"
    )
    assert [line.rpartition(": ")[2] for line in told[1:]] == [
        "does not fit",
        "fits, with 5% to spare, which is little",
        "fits, 20% to spare",
    ]
    told_as_json = found.to_json()
    assert told_as_json["flags"] == change.flags()
    assert [tried["fits"] for tried in told_as_json["tried"]] == [False, True, True]
    assert told_as_json["plan"]["memory"]["total_bytes"] == 80


def test_a_setting_that_the_files_lack_is_passed_over(base):
    def plan_with(change):
        if change.microbatches is None:
            raise ConfigError("no gin file uses FSDP")
        return report(base.run, base.devices)

    told = []
    found = search(START, plan_with, told.append)
    assert found.found is None
    assert found.to_json()["plan"] is None
    assert all(change.microbatches for change, _ in found.tried)
    assert "cannot be tried: no gin file uses FSDP" in told[1]


def test_a_frozen_copy_of_the_reference_is_part_of_the_state(base):
    params = base.run.steps.layout.shapes
    size = sum(leaf.size * 4 for leaf in jax.tree.leaves(params))
    assert base.run.frozen_copy
    assert base.run.reference_bytes == size
    assert base.run.state_bytes > 2 * size
    # The step is given it, beside the state.
    _, _, reference, _ = base.run.lower().args_info[0]
    assert sum(leaf.shape != () for leaf in jax.tree.leaves(reference)) > 0
    assert jax.tree.structure(reference) == jax.tree.structure(params)
