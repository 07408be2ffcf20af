"""`dro-jax plan`: what a run takes, of the files that `train` takes and nothing else."""

import contextlib
import io
import json

import pytest
from small_gin import SIZES

from dro_jax.cli.main import main
from dro_jax.cli.plan_command import settings_from_gin
from dro_jax.planning.planned_run import planned
from dro_jax.planning.topologies import slice_of

# VOCABULARY, TRAIN_PATH and INITIAL_CHECKPOINT_PATH are not there.
FILES = [
    "gin_configs/models/tiny.gin",
    "gin_configs/objectives/dro_v.gin",
    "gin_configs/tasks/jsonl.gin",
    "gin_configs/runs/train.gin",
]
SETTINGS = SIZES | {
    "t5_config.T5Config.num_encoder_layers": 3,
    "t5_config.T5Config.num_decoder_layers": 3,
    "TASK_FEATURE_LENGTHS": {"inputs": 16, "targets": 8},
    "BATCH_SIZE": 8,
    "TRAIN_PATH": "/no/such/file.jsonl",
    "VOCABULARY": "/no/such/file.model",
    "INITIAL_CHECKPOINT_PATH": "/no/such/folder",
    "VOCAB_SIZE": 40,
}
FLAGS = [
    *(f"--gin_file={name}" for name in FILES),
    *(f"--gin.{name}={value}" for name, value in SETTINGS.items()),
]


@pytest.fixture(scope="module")
def plans(tmp_path_factory):
    """The JSON and the table, with layers scanned and with each written out."""
    folder, found = tmp_path_factory.mktemp("plans"), {}
    for scan in (True, False):
        path = folder / f"{scan}.json"
        flags = [*FLAGS, f"--gin.SCAN_LAYERS={scan}", f"--json={path}", "--movers=4"]
        with contextlib.redirect_stdout(io.StringIO()) as output:
            assert main(["plan", *flags]) == 0
        found[scan] = json.loads(path.read_text()), output.getvalue()
    return found


@pytest.mark.slow
def test_the_plan_as_json(plans):
    told, _ = plans[True]
    assert told["fits"] is True
    assert told["topology"] is None
    assert told["devices"] == told["mesh"]["data"] == 8
    assert told["batch"] == {
        "rows": 8, "inputs": 16, "targets": 8, "trajectories_per_row": 1
    }  # fmt: skip
    memory = told["memory"]
    # Each device has the whole of the parameters, float32, beside the optimiser's state.
    parameters = sum(told["parameters"].values())
    assert memory["state_bytes"] > 4 * parameters
    assert memory["temporary_bytes"] > 0
    assert memory["total_bytes"] < memory["available_bytes"]
    # Gradients are summed over devices, and there is little else to exchange.
    assert told["collectives"]["all-reduce"]["bytes"] >= 4 * parameters
    assert told["bytes"]["accessed"] > memory["state_bytes"]
    assert told["roofline"] is None  # of a CPU nothing is listed
    assert told["compile_seconds"] > 0
    assert told["loops_of_unknown_length"] == 0


@pytest.mark.slow
def test_scanned_layers_count_as_often_as_they_run(plans):
    (scanned, _), (unrolled, _) = plans[True], plans[False]
    assert scanned["settings"]["scan_layers"] is True
    flops = scanned["flops"]["compiled"]
    assert flops == pytest.approx(unrolled["flops"]["compiled"], rel=0.03)
    # What is counted by hand, and by reading the compiler's program.
    assert flops == pytest.approx(scanned["flops"]["model"], rel=0.03)


@pytest.mark.slow
def test_the_table_says_the_same(plans):
    told, text = plans[True]
    assert "DROV, float32, remat none, layers scanned, reference cached" in text
    assert "8 rows of 16 + 8 tokens" in text
    assert "yes, with" in text
    assert f"model {told['flops']['model']:.3g}" in text


def test_decoding(tmp_path, capsys):
    path = tmp_path / "plan.json"
    flags = [*FLAGS, "--gin.SCAN_LAYERS=True", "--num_samples=3", f"--json={path}"]
    assert main(["plan", "--decode", "--cache_dtype=bfloat16", *flags]) == 0
    told = json.loads(path.read_text())
    assert told["batch"] == {
        "prompts": 8, "inputs": 16, "targets": 8, "num_samples": 3
    }  # fmt: skip
    # Of each layer keys and values, of two bytes: of 3 × 8 tokens and of the prompt's 16.
    heads, layers, kept = 2 * 8, 3, 3 * 8 + 16
    # And where the cache stands, and where each row began.
    assert told["cache_bytes"] == 2 * 2 * heads * layers * kept + 4 + 4 * 3
    for program in (told["encoding"], told["step"]):
        assert program["memory"]["state_bytes"] > 4 * told["parameters"]
        assert program["bytes"] > 0
    # Every parameter of the decoder but its embedding multiplies each row once; keys and
    # values of the prompts are not made anew.
    decoder = layers * (6 * 16 * heads + 3 * 16 * 16) + 16 * 40
    attended = layers * 2 * heads * (8 + 16)
    assert told["step"]["flops"] == 2 * 24 * (decoder + attended)
    assert told["fits"] is True and told["tokens_per_second"] is None
    text = capsys.readouterr().out
    assert "8 prompts of 16 tokens, 3 × 8 tokens to each" in text
    assert "float32, cache bfloat16, layers scanned" in text


def test_a_batch_that_does_not_divide_is_searched_with_layers_split(capsys):
    flags = [*FLAGS, "--gin.BATCH_SIZE=4", "--search"]
    for part in ("encoder", "decoder"):
        flags.append(f"--gin.t5_config.T5Config.num_{part}_layers=1")
    assert main(["plan", *flags]) == 0
    output = capsys.readouterr()
    assert "BATCH_SIZE = 4 does not divide: the run as it is; --gin.NUM" in output.err
    assert "with --gin.MODEL_PARALLEL=2\n" in output.out
    assert "(data 4, model 2)" in output.out


@pytest.mark.slow
def test_the_largest_movers_of_bytes(plans):
    told, text = plans[False]
    movers, accessed = told["movers"], told["bytes"]["accessed"]
    assert len(movers) == 4
    assert [m["bytes"] for m in movers] == sorted(
        (m["bytes"] for m in movers), reverse=True
    )
    for mover in movers:
        assert mover["pass"] in ("forward", "backward", "again")
        assert mover["share"] == pytest.approx(mover["bytes"] / accessed)
        assert f"`{mover['layer']}` | {mover['pass']}" in text


def test_what_only_a_run_needs_may_be_missing(capsys):
    needless = ("TRAIN_PATH", "VOCABULARY", "INITIAL_CHECKPOINT_PATH", "VOCAB_SIZE")
    bindings = [f"{n} = {v!r}" for n, v in SETTINGS.items() if n not in needless]
    settings = settings_from_gin(FILES, [*bindings, "VOCAB_SIZE = None"])
    assert settings.data.train.batch_size == 8
    assert settings.model.network_config.vocab_size == 32128
    assert "VOCAB_SIZE is not set: T5's 32,128 rows" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["kto", "a_lol", "pro", "rpo"])
def test_runs_of_papers_are_planned_as_they_are(name):
    """With data that need not be there, whatever the objective reads of them."""
    sizes = [f"{setting} = {value}" for setting, value in SIZES.items()]
    settings = settings_from_gin([f"gin_configs/runs/paper/{name}.gin"], sizes)
    run = planned(settings, slice_of(None))
    assert run.state_bytes > 0
    needs = settings.model.objective.needs
    assert ("mismatched_weights" in run.batch) == needs.mismatched
    assert ("group_weights" in run.batch) == needs.groups
    assert ("advantages" in run.batch) == needs.advantages


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "no --gin_file is given"),
        ([*FLAGS, "--topology=v5e"], "is no TPU slice. Name the version"),
        (FLAGS[1:4], "required settings are missing: MODEL"),
        ([*FLAGS, "--gin.BATCH_SIZE=12"], "BATCH_SIZE = 12 rows do not divide"),
        # Nor over fewer devices, each layer split over two, four or eight.
        ([*FLAGS, "--search", "--gin.NUM_MICROBATCHES=3"], "use a multiple of 24"),
        ([*FLAGS, "--gin.MODEL_PARALLEL=3"], "does not fit 8 devices"),
        ([*FLAGS, "--num_samples=2"], "are for --decode: give it too"),
        ([*FLAGS, "--decode", "--search"], "leave --each, --search out"),
        ([*FLAGS, "--decode", "--gin.BATCH_SIZE=12"], "= 12 cannot be shared"),
        ([*FLAGS, "--movers=0"], "--movers must be at least 1, got 0"),
        ([*FLAGS, "--decode", "--movers=3"], "leave --decode, --each out"),
        ([*FLAGS, "--json=/no/such/folder/plan.json"], "make it first"),
    ],
)
def test_refusals(flags, message, capsys):
    assert main(["plan", *flags]) == 2
    assert message in capsys.readouterr().err
