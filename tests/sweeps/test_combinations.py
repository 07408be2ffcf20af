from dro_jax import sweeps
from dro_jax.sweeps.combinations import combinations
from dro_jax.sweeps.labels import label_of
from dro_jax.sweeps.names import filled_in, in_quotes, names_in

FILES = sweeps.Files("objective", {"A": "a.gin", "B": ["b.gin", "X = 1"]})


def of(*axes):
    return combinations(sweeps.Stage("s", (), axes=axes))


def test_a_stage_without_axes_has_one_run():
    (one,) = of()
    assert dict(one.values) == {}


def test_the_last_axis_varies_fastest_and_seeds_are_known():
    found = of(FILES, sweeps.Grid("TAU", (0.1, 1.0)), sweeps.Seeds((0, 1)))
    assert [tuple(one.values.values()) for one in found[:3]] == [
        ("A", 0.1, 0),
        ("A", 0.1, 1),
        ("A", 1.0, 0),
    ]
    assert len(found) == 8
    assert {one.seed_axis for one in found} == {"RANDOM_SEED"}
    assert found[-1].words == {"objective": ["b.gin", "X = 1"]}
    assert found[-1].settings == {"TAU": 1.0, "RANDOM_SEED": 1}


def test_zipped_axes_go_together_and_ranges_are_left_to_a_search():
    zipped = sweeps.Zip((FILES, sweeps.Grid("BETA", (0.1, 0.5))))
    found = of(zipped, sweeps.Uniform("TAU", 0.1, 1.0))
    assert [dict(one.values) for one in found] == [
        {"objective": "A", "BETA": 0.1},
        {"objective": "B", "BETA": 0.5},
    ]
    drawn = found[0].drawn({"TAU": 0.3})
    assert drawn.values["TAU"] == drawn.settings["TAU"] == 0.3


def test_labels():
    values = {"objective": "DRO-V", "train.train.log_period": 5, "RANDOM_SEED": 2}
    label = label_of("policies", values, ["objective"], "RANDOM_SEED")
    assert label == "DRO-V · log_period 5 · seed 2"
    assert label_of("reference", {}, [], None) == "reference"
    assert len(label_of("s", {"X": list(range(99))}, [], None)) < 60


def test_names_are_found_and_filled_in():
    value = {"a": ["$reference/x", "${SWEEP_DIR}/y", "$5"], "b": 3}
    assert [*names_in(value)] == ["reference", "SWEEP_DIR"]
    text = "START = '$reference/a', '$HOME'"
    assert filled_in(text, {"reference": "/it's"}, in_quotes) == (
        r"START = '/it\'s/a', '$HOME'"
    )
