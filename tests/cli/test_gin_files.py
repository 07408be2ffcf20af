"""Every gin file that ships: parsed, built, and taken a step."""

import dataclasses
import itertools
import json
import math
import re

import gin
import jax
import numpy as np
import pytest
from small_gin import SIZES

from dro_jax import shipped_names
from dro_jax.cli import gin_setup
from dro_jax.cli.train_command import train_from_gin
from dro_jax.errors import ConfigError
from dro_jax.objectives import registry
from dro_jax.training.metric_writers import read_metrics

FOLDER = shipped_names.FOLDER / "gin_configs"
EVERY = sorted(path.relative_to(FOLDER.parent) for path in FOLDER.rglob("*.gin"))
SMALL = [f"{name} = {value}" for name, value in SIZES.items()]
# Parameters of the published T5 1.1 checkpoints, in millions (embeddings included).
PUBLISHED = {
    "t5_1_1_small": 77,
    "t5_1_1_base": 248,
    "t5_1_1_large": 783,
    "t5_1_1_xl": 2850,
    "t5_1_1_xxl": 11135,
    "byt5_small": 300,
}


@pytest.fixture(autouse=True)
def _clean_gin():
    yield
    gin.clear_config()


@pytest.fixture
def feedback(tmp_path):
    path = tmp_path / "logs.jsonl"
    records = [
        {"prompt": f"say {i // 2}", "response": f"{i}", "reward": (-1.0) ** i}
        for i in range(8)
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def small_run(feedback, model_dir, *bindings):
    return [
        f"MODEL_DIR = '{model_dir}'",
        f"TRAIN_PATH = '{feedback}'",
        f"jsonl.jsonl_task.name = 'logs_{abs(hash(str(feedback)))}'",
        f"VALIDATION_PATH = '{feedback}'",
        "TRAIN_STEPS = 2",
        "BATCH_SIZE = 8",
        "TASK_FEATURE_LENGTHS = {'inputs': 8, 'targets': 4}",
        "LOG_PERIOD = 1",
        *SMALL,
        *bindings,
    ]


@pytest.mark.parametrize("path", EVERY, ids=str)
def test_opens_with_what_a_user_must_know(path):
    lines = (FOLDER.parent / path).read_text().splitlines()
    comment = "\n".join(itertools.takewhile(lambda line: line.startswith("#"), lines))
    for name in ("Required:", "Command:", "Cost:", "Score:"):
        assert f"\n# {name}" in comment


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_models_have_their_published_sizes(name):
    gin_setup.parse(
        [f"gin_configs/models/{name}.gin", "gin_configs/objectives/nll.gin"], []
    )
    model = gin_setup.macro("MODEL")
    tokens = jax.ShapeDtypeStruct((1, 8), "int32")
    batch = {
        "encoder_input_tokens": tokens,
        "decoder_input_tokens": tokens,
        "decoder_target_tokens": tokens,
    }
    shapes = jax.eval_shape(
        lambda key, batch: model.init(key, batch)[0], jax.random.key(0), batch
    )
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
    assert count / 1e6 == pytest.approx(PUBLISHED[name], rel=0.01)


# Needs that ask nothing of data.
OF_NO_DATA = dict.fromkeys(
    ("value", "whole_batch", "token_values", "logits_value", "split_rewards"), False
) | {"running": ()}


def done_for_another(needs, others):
    """Whether the trainer does all that is done for these needs for others' too."""
    mine = dataclasses.asdict(needs).items()
    kinds = ("reference", "groups", "scores")  # which change what the others mean
    return any(
        other != needs
        and not other.rollouts
        and all(
            getattr(other, name) == value or (not value and name not in kinds)
            for name, value in mine
        )
        for other in others
    )


@pytest.mark.slow
def test_objectives_of_all_needs_take_a_step(feedback, tmp_path):
    """One of each: with the same needs the trainer does the same, but for the loss."""
    common = ["gin_configs/models/tiny.gin", "gin_configs/tasks/jsonl.gin"]
    run = "gin_configs/runs/train.gin"
    reference = tmp_path / "nll"
    names = sorted(path.stem for path in (FOLDER / "objectives").glob("*.gin"))
    names.sort(key=lambda name: name not in ("dro_v", "rpo"))  # have more of their own
    trained, evaluated = set(), set()
    every = {name: registry.kinds()[name]().needs for name in names}
    for name in ["nll", *names]:
        start, needs = [], every[name]
        if needs in trained:
            continue
        if name not in ("nll", "dro_v") and done_for_another(needs, every.values()):
            file = f"gin_configs/objectives/{name}.gin"
            gin_setup.parse([*common, file, run], small_run(feedback, tmp_path / name))
            assert gin_setup.macro("MODEL").objective.needs == needs
            continue
        trained.add(needs)
        # Held-out data are read alike by those that need the same of them.
        read = dataclasses.replace(needs, **OF_NO_DATA)
        evaluates = read not in evaluated or needs.advantages or name == "dro_v"
        evaluated.add(read)
        if name != "nll":
            # One pass of the reference for all objectives that read the same of it.
            kind = "tokens" if needs.token_logprobs else "sums"
            start = [
                f"INITIAL_CHECKPOINT_PATH = '{reference}'",
                f"REFERENCE_CACHE_DIR = '{tmp_path / kind}'",
            ]
        files = [*common, f"gin_configs/objectives/{name}.gin", run]
        if name in ("qrpo", "rpo"):  # these let the reference answer first
            own = "gin_configs/samples/reference.gin"
            files += [own, "gin_configs/rewards/length.gin"]
            start += ["REFERENCE_SAMPLES_PER_PROMPT = 2"]
            start += [f"REFERENCE_SAMPLES_DIR = '{tmp_path / 'samples'}'"]
        if name == "dro_v":  # one of them samples too, and shares its prompts
            files += ["gin_configs/evaluation/sampled.gin"]
            files += ["gin_configs/data/shared_prompts.gin"]
            start += ["SAMPLED_PROMPTS = 2"]
        if not evaluates:
            start += ["EVAL_DATASET = None"]
        bindings = small_run(feedback, tmp_path / name, *start)
        if needs.rollouts:
            with pytest.raises(ConfigError, match="FRESH_SAMPLES"):
                train_from_gin(files, bindings)
            continue
        train_from_gin(files, bindings)
        last = read_metrics(tmp_path / name)[-1]
        assert ("eval/sampled/kl" in last) == (name == "dro_v")
        assert last["step"] == 2
        assert np.isfinite(last["loss"])
        assert ("eval/loss" in last) == evaluates
        assert np.isfinite(last.get("eval/loss", 0.0))
    assert {path.name for path in (tmp_path / "sums").iterdir()} == {
        f"logs_{abs(hash(str(feedback)))}-{split}" for split in ("train", "validation")
    }


# Runs of the papers' tasks, which tests/tasks take steps of.
OF_TASKS = {
    *("commonsense", "dialogue", "hha_published", "reddit"),
    *("helpsteer2", "oasst2", "ultrafeedback"),
}
RUNS = ["quickstart_reference", "quickstart_dro_v", "quickstart_online_dro_v"]
RUNS += ["quickstart_ppo", "paper/dro_v", "paper/a_lol"]


@pytest.fixture(scope="module")
def references():
    """Folders of reference policies, by the kind of runs that start there."""
    return {}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_runs_take_a_step(name, feedback, tmp_path, references):
    """Each run file with its own settings but for the sizes of model and data."""
    bindings = ["TRAIN_STEPS = 60", *SMALL, "EVAL_DATASET = None"]
    if name.startswith("paper"):
        bindings = small_run(feedback, tmp_path / "run", "VOCABULARY = 'byte'")
        bindings += ["WARMUP_STEPS = 1"]
    bindings += ["train.train.total_steps = 2"]
    # Networks of the quickstart are alike, and so are those of the papers: the first run
    # makes what the others start from.
    kind, model_dir = name.split("/")[0].split("_")[0], tmp_path / "reference"
    if kind not in references:
        files = [f"gin_configs/runs/{name}.gin", "gin_configs/objectives/nll.gin"]
        own = [f"MODEL_DIR = '{model_dir}'", "FRESH_SAMPLES = None"]
        train_from_gin(files, [*bindings, *own])
        references[kind] = model_dir
    if name != "quickstart_reference":
        model_dir = tmp_path / "run"
        bindings += [f"INITIAL_CHECKPOINT_PATH = '{references[kind]}'"]
        bindings += [f"MODEL_DIR = '{model_dir}'"]
        train_from_gin([f"gin_configs/runs/{name}.gin"], bindings)
    assert np.isfinite(read_metrics(model_dir)[-1]["loss"])


@pytest.mark.parametrize(
    "path",
    sorted(p for p in (FOLDER / "runs/paper").glob("*.gin") if p.stem not in OF_TASKS),
    ids=lambda path: path.stem,
)
def test_every_objective_has_a_run_of_its_paper(path, feedback, tmp_path):
    files = [str(path)]
    if path.stem.endswith("_base"):
        files.append("gin_configs/objectives/nll.gin")
    gin_setup.parse(files, small_run(feedback, tmp_path, "VOCABULARY = 'byte'"))
    objective = gin_setup.macro("MODEL").objective
    # dro_v_xl is DRO-V of a larger model.
    name = "nll" if path.stem.endswith("_base") else re.sub("_xx?l$", "", path.stem)
    assert type(objective).__name__.lower() == name.replace("_", "")


def test_such_runs_are_those_of_objectives():
    objectives, runs = (
        {path.stem for path in (FOLDER / folder).glob("*.gin")}
        for folder in ("objectives", "runs/paper")
    )
    others = {"dro_base", "a_lol_base", "dro_v_xl", "dro_v_xxl"}
    assert runs - objectives == others | OF_TASKS


def test_the_saved_configuration_can_be_parsed_again(feedback, tmp_path):
    files = [
        "gin_configs/models/tiny.gin",
        "gin_configs/objectives/dro_v.gin",
        "gin_configs/tasks/jsonl.gin",
        "gin_configs/runs/train.gin",
    ]
    gin_setup.parse(files, small_run(feedback, tmp_path, "TAU = 0.25"))
    saved = tmp_path / "config.gin"
    saved.write_text(gin.config_str())
    gin_setup.parse([str(saved)], [])
    assert gin_setup.macro("MODEL").objective.tau == 0.25
    assert gin.config_str() == saved.read_text()


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        ("BATCHSIZE = 4", "a name that no gin file uses; did you mean BATCH_SIZE?"),
        ("objectives.DROV.tauu = 1", "has no parameter named 'tauu'"),
        ("objectives.DRO_V.tau = 1", "dro_jax.objectives has no attribute DRO_V"),
        ("TAU = (", "--gin.TAU=(: a bracket or quote is not closed"),
    ],
)
def test_unknown_names_are_errors(binding, message, feedback, tmp_path):
    files = [
        "gin_configs/models/tiny.gin",
        "gin_configs/objectives/dro_v.gin",
        "gin_configs/tasks/jsonl.gin",
        "gin_configs/runs/train.gin",
    ]
    with pytest.raises(ConfigError) as caught:
        gin_setup.parse(files, [*small_run(feedback, tmp_path), binding])
    assert message in str(caught.value)


def test_missing_settings_are_all_named():
    with pytest.raises(ConfigError) as caught:
        gin_setup.parse(["gin_configs/runs/train.gin"], [])
    for name in ("MODEL_DIR", "TRAIN_STEPS", "TASK_FEATURE_LENGTHS"):
        assert f"--gin.{name}=…" in str(caught.value)
