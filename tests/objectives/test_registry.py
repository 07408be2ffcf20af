"""What must be there for each objective, and that one which lacks it is found."""

import ast
import dataclasses
import pathlib
import re
from typing import ClassVar

import jax.numpy as jnp
import pytest

from dro_jax import objectives
from dro_jax.certificate import methods
from dro_jax.cli.gin_allowed_names import all_names
from dro_jax.objectives import Losses, Needs, Objective, Theory, registry

ROOT = pathlib.Path(__file__).parents[2]
SUITES = ("test_contract.py", "test_formulas.py", "test_registry.py")
KINDS = registry.kinds()
names = pytest.mark.parametrize("name", KINDS)


def hinge(policy_logprobs, rewards, *, margin):
    return jnp.maximum(margin - policy_logprobs * rewards, 0.0)


@dataclasses.dataclass(frozen=True)
class Hinge(Objective):
    """Made up, as a person adds one."""

    margin: float = 1.0
    needs: ClassVar[Needs] = Needs()
    theory: ClassVar[Theory] = Theory(converges_to="μ", family="cloning")

    def __call__(self, trajectories):
        losses = hinge(
            trajectories.policy_logprobs, trajectories.rewards, margin=self.margin
        )
        return Losses(policy=losses)


@pytest.fixture
def with_hinge(monkeypatch):
    monkeypatch.setattr(objectives, "Hinge", Hinge, raising=False)
    monkeypatch.setattr(objectives, "hinge", hinge, raising=False)


def test_one_more_is_found_by_all(with_hinge):
    assert registry.kinds() == KINDS | {"hinge": Hinge}
    assert "dro_jax.objectives.Hinge" in set(all_names(called=True))
    assert methods._methods()["Hinge"].objective() == Hinge()


def test_one_without_its_loss_is_refused(with_hinge, monkeypatch):
    monkeypatch.delattr(objectives, "hinge")
    with pytest.raises(
        TypeError, match="objectives.Hinge is exported without its loss"
    ):
        registry.kinds()


def test_one_without_a_theory_is_refused(with_hinge, monkeypatch):
    monkeypatch.setattr(Hinge, "theory", None)
    with pytest.raises(TypeError, match="objectives.Hinge has no `theory`"):
        methods._methods()


def test_what_is_shared_and_what_others_derive_is_none_of_them():
    assert KINDS["dro_v"] is objectives.DROV
    assert {"Labelled", "RewardWeighted", "Hinge"}.isdisjoint(
        kind.__name__ for kind in KINDS.values()
    )


def test_each_has_a_gin_file_and_no_file_is_without_one():
    files = (ROOT / "gin_configs/objectives").glob("*.gin")
    assert {path.stem for path in files} == set(KINDS)


@names
def test_its_gin_file_sets_it_and_all_its_hyperparameters(name):
    text = (ROOT / f"gin_configs/objectives/{name}.gin").read_text("utf-8")
    kind = KINDS[name]
    assert f"OBJECTIVE = @objectives.{kind.__name__}()\n" in text
    for field in dataclasses.fields(kind):
        line = rf"^(objectives\.{kind.__name__}\.|  ){field.name} = %"
        assert re.search(line, text, flags=re.MULTILINE), field.name


def test_each_has_a_section_in_the_docs():
    text = (ROOT / "docs/objectives.md").read_text("utf-8")
    found = re.findall(r"^## .*\(`(\w+)`\)$", text, flags=re.MULTILINE)
    assert sorted(found) == sorted(KINDS)


@names
def test_it_has_tests_of_its_own_beside_the_suites(name):
    called = {
        getattr(node, "id", getattr(node, "attr", None))
        for path in pathlib.Path(__file__).parent.glob("test_*.py")
        if path.name not in SUITES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Name | ast.Attribute)
    }
    assert name in called


def test_the_objective_of_the_docs_runs():
    text = (ROOT / "docs/objectives.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(import dataclasses.*?)```", text, re.DOTALL)
    made = {"__name__": "my_losses"}
    exec(code, made)  # noqa: S102, of a page of ours
    three = jnp.array([1.0, 1.0, -1.0])
    trajectories = objectives.Trajectories(
        policy_logprobs=jnp.array([-1.0, -3.0, -1.0]),
        rewards=three,
        weights=jnp.ones(3),
        reference_logprobs=jnp.full(3, -3.0),
    )
    # By hand: ℓ = 2, 0, 2, of which the reward's sign makes 2, 0, −2; the margin is 1.
    losses = made["Hinge"]()(trajectories)
    assert losses.policy.tolist() == [0.0, 1.0, 3.0]
