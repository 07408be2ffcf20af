"""Tasks and mixtures by name."""

import pytest

from dro_jax.data import registry
from dro_jax.data.sources import JsonlSource
from dro_jax.data.tasks import register_feedback_task
from dro_jax.errors import ConfigError


@pytest.fixture
def task(tmp_path):
    source = JsonlSource({"train": tmp_path / "none.jsonl"})
    yield register_feedback_task("of_registry", source, vocabulary="byte")
    registry.remove("of_registry")
    registry.remove("mixture_of_registry")


def test_a_mixture_that_cannot_be_is_refused(task):
    registry.add_mixture("mixture_of_registry", [task.name], 1.0)
    ((found, rate),) = registry.mixture("mixture_of_registry")
    assert (found.name, rate()) == (task.name, 1.0)
    for name in ("mixture_of_registry", task.name):
        with pytest.raises(ConfigError, match=f"'{name}' is registered already"):
            registry.add_mixture(name, [task.name], 2.0)
    assert rate() == 1.0
    with pytest.raises(ConfigError, match="no task is called no_such, other"):
        registry.add_mixture("another", ["other", task.name, "no_such"], 1.0)
    with pytest.raises(ConfigError, match="it has no tasks"):
        registry.add_mixture("another", [], 1.0)
    assert "another" not in registry.mixture_names()
