"""The library under real T5X: `python -m t5x.train`, `t5x.eval`, `t5x.infer`.

docs/t5x.md says how to make t5x importable. Each run is a process of its own, as its
users start it.
"""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip(
    "t5x",
    reason="needs t5x, airio and jestimator on PYTHONPATH, as docs/t5x.md describes",
)

ROOT = pathlib.Path(__file__).parents[2]
STEPS = 20
MODEL = "dro_jax/gin_configs/models/tiny.gin"
TASK = "dro_jax/gin_configs/tasks/support_desk.gin"
pytestmark = pytest.mark.slow


def run_module(module, *arguments):
    environment = os.environ | {"XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done


def flags(*files, **settings):
    return [f"--gin_file={file}" for file in files] + [
        f"--gin.{name}={value!r}" for name, value in settings.items()
    ]


def t5x_train(folder, objective, *files, steps=STEPS, **settings):
    settings = {
        "TRAIN_STEPS": steps,
        "BATCH_SIZE": 8,
        "LOG_PERIOD": 1,
        "EVAL_PERIOD": 10,
        "EVAL_STEPS": 2,
        "CHECKPOINT_PERIOD": 10,
        **settings,
    }
    return run_module(
        "t5x.train",
        *flags(
            "dro_jax/gin_configs/t5x/train.gin",
            MODEL,
            f"dro_jax/gin_configs/objectives/{objective}.gin",
            TASK,
            *files,
            MODEL_DIR=str(folder),
            **settings,
        ),
    )


def losses(folder):
    """By step, from the event files that T5X writes."""
    from tensorboard.backend.event_processing import event_accumulator
    from tensorboard.util import tensor_util

    events = event_accumulator.EventAccumulator(
        str(folder / "train"), size_guidance={event_accumulator.TENSORS: 0}
    )
    events.Reload()
    return {
        event.step: float(tensor_util.make_ndarray(event.tensor_proto))
        for event in events.Tensors("loss")
    }


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A reference policy, trained by `dro-jax train`."""
    folder = tmp_path_factory.mktemp("reference")
    run_module(
        "dro_jax.cli.main",
        "train",
        *flags(
            MODEL,
            "dro_jax/gin_configs/objectives/nll.gin",
            TASK,
            "dro_jax/gin_configs/runs/train.gin",
            MODEL_DIR=str(folder),
            TRAIN_STEPS=30,
            BATCH_SIZE=8,
            EVAL_PERIOD=100,
        ),
    )
    return folder


@pytest.mark.parametrize("objective", ["nll", "dro_v"])
def test_the_losses_are_those_of_the_built_in_trainer(tmp_path, reference, objective):
    settings = {
        "BATCH_SIZE": 8,
        "LEARNING_RATE": 1e-3,
        "WARMUP_STEPS": 5,
        "INITIAL_CHECKPOINT_PATH": str(reference),
    }
    t5x_train(tmp_path / "t5x", objective, "dro_jax/gin_configs/t5x/adamw.gin", **settings)
    (tmp_path / "adamw.gin").write_text(
        "from __gin__ import dynamic_registration\n"
        "from dro_jax.training import optimizers\n"
        "OPTIMIZER = @optimizers.adamw()\n"
    )
    run_module(
        "dro_jax.cli.main",
        "train",
        *flags(
            MODEL,
            f"dro_jax/gin_configs/objectives/{objective}.gin",
            TASK,
            "dro_jax/gin_configs/runs/train.gin",
            tmp_path / "adamw.gin",
            MODEL_DIR=str(tmp_path / "ours"),
            TRAIN_STEPS=STEPS,
            LOG_PERIOD=1,
            **settings,
        ),
    )
    lines = (tmp_path / "ours" / "metrics.jsonl").read_text().splitlines()
    ours = {record["step"]: record["loss"] for record in map(json.loads, lines)}
    theirs = losses(tmp_path / "t5x")
    assert sorted(theirs) == sorted(ours) == list(range(1, STEPS + 1))
    np.testing.assert_allclose(
        [theirs[step] for step in ours], list(ours.values()), rtol=1e-4
    )
    assert ours[STEPS] != ours[1]


@pytest.mark.parametrize(
    ("objective", "settings"),
    [
        ("nll", {"NUM_MICROBATCHES": 2}),
        ("dro", {"REFERENCE": "frozen_copy"}),
        ("dro_v", {"REFERENCE": "frozen_copy", "NUM_MICROBATCHES": 2}),
        ("dro_p", {"PACK": True}),
    ],
)
def test_objectives_train_and_restart(tmp_path, reference, objective, settings):
    settings = {"INITIAL_CHECKPOINT_PATH": str(reference), **settings}
    t5x_train(tmp_path, objective, steps=10, **settings)
    t5x_train(tmp_path, objective, steps=20, **settings)
    found = losses(tmp_path)
    assert sorted(found) == list(range(1, 21))
    assert np.isfinite(list(found.values())).all()


def test_a_restart_goes_on_with_parameters_and_data(tmp_path, reference):
    settings = {
        "INITIAL_CHECKPOINT_PATH": str(reference),
        "REFERENCE": "frozen_copy",
        "LEARNING_RATE": 1e-2,
        "WARMUP_STEPS": 1,
    }
    t5x_train(tmp_path / "parts", "dro_v", steps=10, **settings)
    t5x_train(tmp_path / "parts", "dro_v", steps=20, **settings)
    t5x_train(tmp_path / "whole", "dro_v", steps=20, **settings)
    parts, whole = losses(tmp_path / "parts"), losses(tmp_path / "whole")
    assert sorted(parts) == sorted(whole) == list(range(1, 21))
    np.testing.assert_allclose(
        [parts[step] for step in whole], list(whole.values()), rtol=1e-5
    )


def test_eval_and_infer_read_the_built_in_trainers_checkpoint(tmp_path, reference):
    checkpoint = str(reference / "checkpoint_30")
    files = (MODEL, "dro_jax/gin_configs/objectives/nll.gin", TASK)
    run_module(
        "t5x.eval",
        *flags(
            "dro_jax/gin_configs/t5x/eval.gin",
            *files,
            CHECKPOINT_PATH=checkpoint,
            EVAL_OUTPUT_DIR=str(tmp_path / "eval"),
        ),
    )
    (metrics,) = (tmp_path / "eval").rglob("support_desk-metrics.jsonl")
    values = json.loads(metrics.read_text().splitlines()[-1])
    assert np.isfinite(values["true_reward"])
    assert values["logps/policy"] < 0
    # Of the model's own responses: texts, and from the tokens what was cut.
    for name in ("cut", "empty", "distinct_1", "distinct_2", "distinct_3"):
        assert 0 <= values[name] <= 1
    assert values["response_words"] > 0
    for mode in ("score", "predict"):
        run_module(
            "t5x.infer",
            *flags(
                "dro_jax/gin_configs/t5x/infer.gin",
                *files,
                CHECKPOINT_PATH=checkpoint,
                INFER_OUTPUT_DIR=str(tmp_path / mode),
                MODE=mode,
            ),
        )
    (scored,) = (tmp_path / "score").glob("support_desk-score.jsonl*-of-*1")
    (predicted,) = (tmp_path / "predict").glob("support_desk-predict.jsonl*-of-*1")
    scores = [json.loads(line)["score"] for line in scored.read_text().splitlines()]
    assert len(scores) == len(predicted.read_text().splitlines()) > 100
    np.testing.assert_allclose(np.mean(scores), values["logps/policy"], rtol=1e-5)
