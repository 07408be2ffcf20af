"""A sweep's trials from its description: composed, checked and told apart."""

import dataclasses
import shlex
import types

import gin
import pytest

from dro_jax import sweeps
from dro_jax.cli.sweep_file import read_sweep
from dro_jax.cli.sweep_plan import Planner
from dro_jax.errors import CheckpointError, ConfigError
from dro_jax.objectives.registry import kinds
from dro_jax.sweeps.trial_store import open_store
from dro_jax.training.before.reference_samples import ReferenceSamples
from dro_jax.training.before.settings_in_use import unused_settings
from dro_jax.training.before.value_fit import ValueFitConfig
from dro_jax.training.run_settings import ReferenceSettings, RunData

RUN = ("dro_jax/gin_configs/runs/quickstart_dro_v.gin", "$objective")


def objective(name, *more):
    return [f"dro_jax/gin_configs/objectives/{name}.gin", *more]


OBJECTIVES = sweeps.Files(
    "objective", {"DRO-V": objective("dro_v"), "KTO": objective("kto")}
)
REFERENCE = sweeps.Stage(
    "reference", ("dro_jax/gin_configs/runs/quickstart_reference.gin",)
)
POLICIES = sweeps.Stage(
    "policies", RUN, {"INITIAL_CHECKPOINT_PATH": "$reference"}, axes=(OBJECTIVES,)
)


@pytest.fixture(autouse=True)
def _clean_gin():
    yield
    gin.clear_config()


def planned(*axes, bindings=(), reference=REFERENCE, **fields):
    bindings = {**POLICIES.bindings, **dict(bindings)}
    policies = dataclasses.replace(
        POLICIES, axes=axes or (OBJECTIVES,), bindings=bindings
    )
    return Planner(sweeps.Sweep([reference, policies], **fields)).plan()


def of(*axes, **fields):
    return planned(*axes, **fields).trials["policies"]


def test_an_axis_makes_trials_only_where_it_is_read():
    taus, betas = sweeps.Grid("TAU", (0.1, 1.0)), sweeps.Grid("BETA", (0.1, 0.3, 0.5))
    found = of(OBJECTIVES, taus, betas, sweeps.Seeds((0, 1)))
    assert len(found) == 2 * 2 + 3 * 2
    assert len({one.key for one in found}) == len(found)
    first, last = found[0], found[-1]
    assert first.label == "DRO-V · TAU 0.1 · seed 0"
    assert first.values == {"objective": "DRO-V", "TAU": 0.1, "RANDOM_SEED": 0}
    assert (first.unused, first.seed_axis) == (("BETA",), "RANDOM_SEED")
    assert last.label == "KTO · BETA 0.5 · seed 1"
    assert not any(own.startswith("TAU") for own in last.bindings)


def test_files_stand_where_their_axis_does_and_a_label_may_set_what_it_likes():
    files = sweeps.Files(
        "objective", {"a": objective("dro_v", "TAU = 0.5", "LEARNING_RATE=1e-3")}
    )
    stage = dataclasses.replace(POLICIES, axes=(files,), gin_files=(RUN[1], RUN[0]))
    stage = dataclasses.replace(
        stage, bindings={**stage.bindings, "LEARNING_RATE": 1e-4}
    )
    plan = Planner(sweeps.Sweep([REFERENCE, stage])).plan()
    (one,) = plan.trials["policies"]
    assert one.gin_files == (*objective("dro_v"), RUN[0])
    assert "LEARNING_RATE = 1e-3" in one.bindings and "TAU = 0.5" in one.bindings
    assert not any("1e-4" in own or "0.0001" in own for own in one.bindings)


@pytest.mark.parametrize(
    ("bindings", "sentence"),
    [
        ({"TAUU": 1.0}, "its bindings: TAUU has no effect on any trial; .* mean TAU"),
        ({"CLIP": 0.5}, "CLIP has no effect on any trial"),
        ({"PACK": "yes"}, r"DRO-V: .*PACK is True or False"),
        (
            {"train.train.log_perod": 5},
            r"no parameter named 'log_perod'; did you mean .*log_period",
        ),
        ({"OPTIMIZER": "@optimizers.adam()"}, "DRO-V: .*optimizers has no attribute"),
        ({"RANDOM_SEED": -(2**40)}, "DRO-V: RANDOM_SEED = -1099511627776"),
        ({"TRAIN_PATH": None}, "TRAIN_PATH has no effect"),
        ({"BATCH_SIZE": object()}, "BATCH_SIZE = .* cannot be written in gin"),
    ],
)
def test_what_no_trial_can_use_is_refused_before_any_runs(bindings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        planned(bindings=bindings)


def test_a_value_that_cannot_be_is_refused_with_the_trial_that_has_it():
    with pytest.raises(ConfigError, match="KTO · BATCH_SIZE a lot: "):
        kto = sweeps.Files("objective", {"KTO": objective("kto")})
        planned(kto, sweeps.Grid("BATCH_SIZE", (8, "a lot")))
    with pytest.raises(ConfigError, match="is in none of"):
        planned(sweeps.Files("objective", {"x": "no_such_file.gin"}))
    with pytest.raises(CheckpointError, match="x: INITIAL_CHECKPOINT_PATH: no check"):
        path = "INITIAL_CHECKPOINT_PATH = '/no/such/run'"
        planned(sweeps.Files("objective", {"x": objective("nll", path)}))


def test_a_place_that_a_sweep_changes_need_not_be_there(tmp_path):
    own = tmp_path / "own.gin"
    own.write_text("INITIAL_CHECKPOINT_PATH = '/no/such/run'\n")
    files = sweeps.Files("objective", {"x": [*objective("dro_v"), str(own)]})
    (one,) = of(files)
    assert "INITIAL_CHECKPOINT_PATH = '$reference'" in one.bindings


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"gin_files": ["no_such_file.gin"]}, "no_such_file.gin is in none of"),
        (
            {"bindings": {"LENGHT": 3}},
            "Sweep.evaluation: --gin.LENGHT sets a name that",
        ),
        (
            {"gin_files": ["gin_configs/rewards/reward_model.gin"]},
            "Sweep.evaluation: required settings are missing: REWARD_MODEL_DIR",
        ),
    ],
)
def test_an_evaluation_is_looked_at_before_anything_runs(fields, sentence):
    with pytest.raises(ConfigError, match=sentence):
        planned(evaluation=sweeps.Evaluation(**fields))


def test_an_evaluation_needs_one_run_of_a_stage_and_may_change_the_data():
    rewards = sweeps.Evaluation(
        ["gin_configs/rewards/reward_model.gin"],
        {"REWARD_MODEL_DIR": "$reference", "TASK_FEATURE_LENGTHS": {"inputs": 5}},
    )
    reference = dataclasses.replace(REFERENCE, evaluated=False)
    planned(reference=reference, evaluation=rewards)
    seeds = dataclasses.replace(reference, axes=(sweeps.Seeds(),))
    with pytest.raises(ConfigError, match="reference must be one run, .* has 3"):
        planned(OBJECTIVES, sweeps.Seeds(), reference=seeds, evaluation=rewards)


def test_labels_that_make_the_same_run_are_refused():
    same = sweeps.Files("objective", {"a": objective("kto"), "b": objective("kto")})
    with pytest.raises(ConfigError, match="'a' and 'b' make the same run"):
        planned(same)


def test_keys_know_what_changes_a_run_and_nothing_else():
    def keys(*axes, **more):
        return [one.key for one in of(*axes, **more)]

    base = keys()
    assert keys(name="another", bindings={"WATCHDOG_SECONDS": 60}) == base
    assert keys(bindings={"KEEP_CHECKPOINTS": 9}) == base
    assert keys(bindings={"TAU": 1.0}) == base  # the file's own value
    changed = keys(bindings={"TAU": 0.2})
    assert changed[0] != base[0] and changed[1] == base[1]  # KTO does not read it
    assert not {*keys(bindings={"BATCH_SIZE": 8})} & {*base}
    longer = dataclasses.replace(REFERENCE, bindings={"TRAIN_STEPS": 1000})
    assert not {*keys(reference=longer)} & {*base}  # they start from another run
    renamed = sweeps.Files("objective", {"x": objective("dro_v")})
    assert keys(renamed) == base[:1]
    more = keys(OBJECTIVES, sweeps.Grid("LEARNING_RATE", (2.5e-4, 1e-3)))
    assert len({*more}) == 4


def test_trials_of_a_storage_are_told_and_begun_as_the_plan_has_them_now(tmp_path):
    first = of(OBJECTIVES)[0]
    moved = tmp_path / "moved.gin"
    moved.write_text("include 'dro_jax/gin_configs/objectives/dro_v.gin'\n")
    now = planned(
        sweeps.Files("objective", {"ours": str(moved)}),
        bindings={"CHECKPOINT_PERIOD": 7},
    )
    (own,) = now.trials["policies"]
    assert own.key == first.key
    with open_store(None, tmp_path, "sweep") as store:
        store.add([first])
        (stored,) = store.trials()
        told, begun = now.as_told(stored), now.as_asked(store.claim("policies").planned)
    assert (told.label, told.values) == ("ours", {"objective": "ours"})
    assert told.folder == stored.folder == "policies/0000_DRO-V"
    assert begun.label == "DRO-V" and str(moved) in begun.gin_files
    assert "CHECKPOINT_PERIOD = 7" in begun.bindings
    other = dataclasses.replace(first, key="another")
    assert now.as_asked(other) == other


def test_what_a_search_has_drawn_is_not_taken_back(tmp_path):
    stage = dataclasses.replace(
        POLICIES,
        axes=(OBJECTIVES, sweeps.Uniform("LEARNING_RATE", 1e-5, 1e-3)),
        search=sweeps.Search(1, "loss"),
    )
    plan = Planner(sweeps.Sweep([REFERENCE, stage])).plan()
    with open_store(None, tmp_path, "sweep", hooks=plan.searches) as store:
        store.add(plan.trials["policies"])
        drawn = store.claim("policies").planned
        assert "LEARNING_RATE" in drawn.values
        assert plan.as_asked(drawn) == drawn
        (told,) = (plan.as_told(x) for x in store.trials() if x.key == drawn.key)
    assert told.values == drawn.values and told.label == drawn.label


def test_what_peoples_own_modules_decorate_is_read_wherever_python_calls_it(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_scales.py").write_text("@gin.configurable\ndef up(x, by=1): ...\n")
    (tmp_path / "my_losses.py").write_text("class Loss: margin = 1.0\n")
    own = tmp_path / "own.gin"

    def keys(by, margin):
        own.write_text(
            "from __gin__ import dynamic_registration\nimport my_scales\n"
            f"import my_losses\nmy_scales.up.by = {by}\n"
            f"my_losses.Loss.margin = {margin}\n"
        )
        files = sweeps.Files("objective", {"x": [*objective("kto"), str(own)]})
        stage = dataclasses.replace(POLICIES, axes=(files,))
        allowed = ("my_scales", "my_losses")
        plan = Planner(sweeps.Sweep([REFERENCE, stage]), "", allowed).plan()
        return [one.key for one in plan.trials["policies"]]

    assert keys(1, 1.0) == keys(1, 2.0)  # no reference makes one
    assert keys(1, 1.0) != keys(2, 1.0)


def test_runs_build_on_the_run_that_agrees():
    seeds = sweeps.Seeds((0, 1))
    plan = planned(
        OBJECTIVES, seeds, reference=dataclasses.replace(REFERENCE, axes=(seeds,))
    )
    by_seed = {one.values["RANDOM_SEED"]: one.key for one in plan.trials["reference"]}
    for one in plan.trials["policies"]:
        assert one.builds_on == {"reference": by_seed[one.values["RANDOM_SEED"]]}
    with pytest.raises(ConfigError, match="DRO-V: .reference could be any of 2 runs"):
        planned(reference=dataclasses.replace(REFERENCE, axes=(seeds,)))


def test_an_axis_that_chooses_the_reference_has_an_effect_though_no_setting_reads_it():
    clips = sweeps.Grid("LEARNING_RATE", (1e-3, 2e-3))
    reference = dataclasses.replace(REFERENCE, axes=(clips,))
    found = of(OBJECTIVES, clips, reference=reference)
    assert len(found) == 4
    assert len({one.builds_on["reference"] for one in found}) == 2


def test_trials_of_equal_reference_share_what_is_computed_of_it():
    files = sweeps.Files(
        "objective",
        {
            name: objective(name)
            for name in ("dro_v", "dpo", "a_lol", "a_lol_seq", "kto")
        },
    )
    shared = {
        one.values["objective"]: [own for own in one.bindings if "SWEEP_DIR" in own]
        for one in of(files)
    }
    assert shared["dro_v"] == shared["dpo"] != []
    assert shared["kto"] == []  # its reference is a frozen copy
    cache, value = shared["a_lol"]
    assert [cache] == shared["dro_v"]
    assert value.startswith("VALUE_OF_REFERENCE_DIR = '$SWEEP_DIR/value_of_reference/")
    # Its cache holds tokens' log-probs too.
    assert shared["a_lol_seq"][0] != cache and shared["a_lol_seq"][1] == value
    # Samples of the reference are shared by all that read any, and change V_ref's folder.
    samples = {"REFERENCE_SAMPLES": "@optimizers.adamw()"}  # any that the files import
    sampled = {
        one.values["objective"]: [own for own in one.bindings if "SWEEP_DIR" in own]
        for one in of(files, bindings=samples)
    }
    assert sampled["dro_v"] == shared["dro_v"]
    own_cache, kept, fit = sampled["a_lol"]
    assert own_cache == cache and fit != value
    assert kept.startswith("REFERENCE_SAMPLES_DIR = '$SWEEP_DIR/reference_samples/")
    assert sampled["a_lol_seq"][1:] == [kept, fit]
    own = of(bindings={"REFERENCE_CACHE_DIR": "/tmp/mine"})
    assert "REFERENCE_CACHE_DIR = '/tmp/mine'" in own[0].bindings
    assert own[1].unused == ("REFERENCE_CACHE_DIR",)


def test_a_budget_says_how_long_runs_train():
    steps = sweeps.Grid("TRAIN_STEPS", (5, 6))
    with pytest.raises(ConfigError, match="TRAIN_STEPS is an axis, and Sweep.budget"):
        planned(OBJECTIVES, steps, budget_tokens=1000)
    found = of(budget_tokens=1000)
    assert not {one.key for one in found} & {one.key for one in of()}
    assert not {one.key for one in found} & {one.key for one in of(budget_tokens=1)}


def test_one_settings_file_serves_all_objectives():
    # What training itself would call unused is given to no trial that does not read it.
    files = sweeps.Files("objective", {name: objective(name) for name in kinds()})
    common = {
        "TAU": 0.3,
        "BETA": 0.2,
        "CLIP": 0.5,
        "REFERENCE": "cached",
        "REFERENCE_CACHE_DIR": "/tmp/cache",
        "REFERENCE_SAMPLES": "@optimizers.adamw()",  # any that the files import
        "REFERENCE_SAMPLES_DIR": "/tmp/samples",
        "VALUE_OF_REFERENCE_DIR": "/tmp/value",
        "VALUE_LEARNING_RATE": 1e-3,
        "train.train.value_fit": "@optimizers.adamw()",
        "train.train.step_zero_tolerance": 1.0,
    }
    reference = ReferenceSettings(
        mode="cached",
        cache_dir="/c",
        value_dir="/v",
        value_fit=ValueFitConfig(),
        samples=ReferenceSamples(),
        samples_dir="/s",
    )
    found = of(files, bindings=common)
    assert [one.values["objective"] for one in found] == [*kinds()]
    for one in found:
        kind = kinds()[one.values["objective"]]
        model = types.SimpleNamespace(objective=kind())
        told = {
            x.split()[0].replace("train.", "train.train.")
            for x in unused_settings(model, RunData(), reference)
        }
        assert told <= {*one.unused}, one.label
        read = {own.partition(" = ")[0] for own in one.bindings}
        assert {*common} == ({*one.unused} | read) & {*common}
        assert not {*one.unused} & read
        needs = kind().needs
        own_value = needs.value and not needs.logits_value
        assert ("VALUE_LEARNING_RATE" in read) == own_value
        assert ("train.train.step_zero_tolerance" in read) == kind().needs.reference


def test_sweeps_are_read_from_gin_with_their_quick_variant(tmp_path):
    files = ["gin_configs/sweeps/quickstart.gin"]
    sweep, fast = read_sweep(files), read_sweep(files, fast=True)
    assert (sweep.name, fast.name) == ("quickstart", "quickstart (fast)")
    assert len(Planner(sweep).plan().trials["policies"]) == 8
    assert len(Planner(fast).plan().trials["policies"]) == 3
    own = read_sweep(files, ["SEEDS = (5,)"])
    assert len(Planner(own).plan().trials["policies"]) == 4
    with pytest.raises(ConfigError, match="TAU is not used by .*: a sweep gives sett"):
        read_sweep(files, ["TAU = 0.3"])
    with pytest.raises(ConfigError, match="there is none beside"):
        read_sweep(["gin_configs/runs/quickstart_dro_v.gin"], fast=True)
    with pytest.raises(ConfigError, match="set no SWEEP"):
        read_sweep(
            [REFERENCE.gin_files[0]], [f"MODEL_DIR = {shlex.quote(str(tmp_path))}"]
        )
    with pytest.raises(ConfigError, match="no --gin_file is given"):
        read_sweep([])
