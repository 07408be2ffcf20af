"""The table of a batch's fields against batches as runs make them; that it is one."""

import ast
import dataclasses
import pathlib

import jax
import numpy as np
import pytest
import small

from dro_jax import batch_fields
from dro_jax.batch_fields import FIELDS, SOURCES
from dro_jax.data.dataset import DatasetConfig
from dro_jax.errors import ConfigError
from dro_jax.models.assembly import with_running
from dro_jax.objectives import Needs, Trajectories, registry
from dro_jax.training.before.prepared_data import PreparedData, like_prepared
from dro_jax.training.before.reference_logprobs import ReferenceLogprobs
from dro_jax.training.before.reference_table import ReferenceTable

ROOT = pathlib.Path(__file__).parents[1]
KINDS = registry.kinds()
PLAIN = DatasetConfig(
    "support_desk",
    {"inputs": 64, "targets": 32},
    batch_size=4,
    module="dro_jax.tasks.support_desk.task",
)
PACKED = dataclasses.replace(PLAIN, pack=True)
GROUPED = dataclasses.replace(PACKED, group_size=2)


@pytest.fixture(scope="module")
def batches():
    """One of each kind, with a reference's log-probabilities."""
    return {
        name: with_reference(next(dataset.batches()))
        for name, dataset in (("rows", PLAIN), ("packed", PACKED), ("groups", GROUPED))
    }


def with_reference(batch):
    per_token = np.zeros_like(batch["decoder_target_tokens"], np.float32)
    found = ReferenceLogprobs.of_batch(batch, per_token, keep_tokens=True)
    return PreparedData(None, (ReferenceTable.of(found),)).complete(batch)


def seen_by(objective, batches):
    """What a step of the objective reads, in each kind of rows that it can have."""
    for name, batch in batches.items():
        grouped = objective.needs.groups or not (
            objective.needs.value or objective.needs.mismatched
        )
        if grouped if name == "groups" else not objective.needs.groups:
            running = {n: np.float32(0) for n in objective.needs.running}
            yield jax.tree.map(
                np.asarray, with_running(like_prepared(objective, batch), running)
            )


def test_every_field_of_every_objective_is_as_the_table_says(batches):
    seen = set()
    for kind in KINDS.values():
        for batch in seen_by(kind(), batches):
            sizes = batch_fields.sizes(batch)
            assert sizes["B"] == 4 and sizes["L"] == 64 and sizes["T"] in (32, 64)
            known = {name: batch_fields.field(name) for name in batch}
            assert all(
                found.need is None or hasattr(Needs(), found.need)
                for found in known.values()
            )
            seen |= set(batch)
    # And nothing stands in the table that no batch has.
    assert set(FIELDS) == {n for n in seen if not n.startswith(batch_fields.RUNNING)}
    assert {"running/shift", "running/batches"} <= seen


def test_a_field_is_there_where_its_need_is(batches):
    for kind in KINDS.values():
        needs = kind().needs
        for batch in seen_by(kind(), batches):
            for name, listed in FIELDS.items():
                if listed.required and listed.source != "grouping":
                    assert (name in batch) == getattr(needs, listed.need), name


def test_the_table_is_sound():
    attributes = {field.name for field in dataclasses.fields(Trajectories)}
    needs = {field.name for field in dataclasses.fields(Needs)}
    for name, listed in FIELDS.items():
        assert listed.name == name and listed.meaning and listed.source in SOURCES
        assert set(listed.axes) <= set("BSLTG2")
        assert listed.need is None or listed.need in needs
        assert not listed.required or listed.need
        assert listed.trajectories is None or listed.trajectories in attributes


def test_the_tests_own_batches_are_as_the_table_says():
    from array_data import ArrayDataset

    examples = small.examples()
    made = [
        small.pack([examples[:2], examples[2:]]),
        small.unpacked(examples),
        small.pack_groups([small.groups()[:2], small.groups()[2:]], 3),
        next(ArrayDataset().batches()),
    ]
    for batch in made:
        assert set(batch) <= set(FIELDS)
        batch_fields.sizes(batch)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"rewards": np.zeros((4, 1))},
            r"'rewards' is float64\[4, 1\], and should be f",
        ),
        ({"rewards": np.zeros(4, np.float32)}, r"float32\[4\], .*be float32\[B, S\]"),
        ({"quantiles": np.zeros((4, 2), np.float32)}, "where S is 1 in its other"),
        ({"record_ids": np.zeros((4, 1, 3), np.int32)}, r"int32\[B, S, 2\]"),
    ],
)
def test_what_does_not_fit_is_named(batches, change, message):
    with pytest.raises(ConfigError, match=message):
        batch_fields.sizes(batches["rows"] | change)
    assert batch_fields.sizes(batches["rows"] | {"my_own": np.zeros(7)})["S"] == 1


def test_t5x_makes_parameters_for_fields_of_the_table_s_types(batches):
    from dro_jax.models.model import FeedbackModel
    from dro_jax.objectives import ALoL

    asked = {}
    model = FeedbackModel(network=small.NETWORK, objective=ALoL())
    model.init = lambda rng, batch: asked.update(batch) or ({}, {})
    batch = batch_fields.device_fields(like_prepared(ALoL(), batches["packed"]))
    model.get_initial_variables(jax.random.key(0), jax.tree.map(np.shape, batch))
    assert {n: x.dtype for n, x in asked.items()} == {
        n: x.dtype for n, x in batch.items()
    }


def test_there_is_no_other_list_of_fields():
    """Two names side by side, as text: where a batch is built, values stand by them."""
    wrong = []
    for path in sorted((ROOT / "dro_jax").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if len(_names(node) & set(FIELDS)) > 1:
                wrong.append(f"{path.relative_to(ROOT)} line {node.lineno}")
    assert wrong == [], (
        "ask dro_jax.batch_fields.names for these; where nothing in the table tells them "
        "from others, give them a reader there"
    )


def _names(node):
    match node:
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
            pass
        case ast.Dict(keys=parts, values=values) if all(map(_is_plain, values)):
            pass
        case _:
            return set()
    return {part.value for part in parts if isinstance(part, ast.Constant)}


def _is_plain(value):
    if isinstance(value, ast.Tuple | ast.List):
        return any(map(_is_plain, value.elts))
    return isinstance(value, ast.Constant)
