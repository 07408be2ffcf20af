import gin
import pytest

from dro_jax.cli.restored import _mesh
from dro_jax.errors import ConfigError


@pytest.fixture(autouse=True)
def _clean_gin():
    gin.clear_config()
    yield
    gin.clear_config()


@pytest.mark.parametrize(
    ("saved", "typed", "shape"),
    [
        ("", [], (8, 1)),
        # A run on a slice, used here: as much of its mesh as there are devices for.
        ("DATA_PARALLEL = 64\nMODEL_PARALLEL = 4\nFSDP = True", [], (2, 4)),
        ("DATA_PARALLEL = None\nMODEL_PARALLEL = 12", [], (2, 4)),
        ("MODEL_PARALLEL = 16", ["MODEL_PARALLEL = 2"], (4, 2)),
        ("", ["DATA_PARALLEL = 1"], (1, 1)),
    ],
)
def test_the_mesh_is_the_run_s_as_far_as_there_are_devices(saved, typed, shape):
    gin.parse_config([saved, *typed])
    assert tuple(_mesh(typed).mesh.shape.values()) == shape


@pytest.mark.parametrize(
    ("saved", "typed", "message"),
    [
        ("", ["MODEL_PARALLEL = 16"], "does not fit 8 devices"),
        ("MODEL_PARALLEL = 'four'", [], "MODEL_PARALLEL = 'four' must be a number"),
    ],
)
def test_a_mesh_that_cannot_be_is_refused(saved, typed, message):
    gin.parse_config([saved, *typed])
    with pytest.raises(ConfigError, match=message):
        _mesh(typed)
