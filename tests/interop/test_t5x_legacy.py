"""T5X's legacy checkpoints; those in tests/golden/t5x were written by T5X itself."""

import contextlib
import functools
import http.server
import pathlib
import shutil
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import stored
from flax import serialization
from jax.sharding import NamedSharding, PartitionSpec

from dro_jax.errors import CheckpointError
from dro_jax.interop.t5x_legacy import open_legacy, write_legacy

TOLERANCE = 1e-5
NAME = "decoder/layers_1/mlp/wo/kernel"
ZARR = "target.decoder.layers_1.mlp.wo.kernel"


@pytest.fixture(params=stored.VERSIONS)
def version(request):
    return request.param


@pytest.fixture
def damaged(tmp_path):
    """A golden checkpoint's folder, to damage."""
    return stored.copied(stored.legacy_path("t5_1_1"), tmp_path)


def change_index(folder, change):
    path = folder / "checkpoint"
    contents = serialization.msgpack_restore(path.read_bytes())
    change(contents)
    path.write_bytes(serialization.msgpack_serialize(contents))


def test_a_checkpoint_of_t5x_is_read_exactly(version):
    model = open_legacy(stored.legacy_path(version))
    stored.assert_same(stored.read(model.policy), stored.arrays_of(f"{version}_params"))
    assert (model.format, model.step, model.value) == ("t5x-legacy", 0, {})
    (ignored,) = model.ignored.items()
    assert ignored[0].startswith("state/param_states/… (") and "optim" in ignored[1]


def test_logits_are_those_of_t5x(version):
    io = stored.arrays_of(f"{version}_io")
    found = stored.logits(open_legacy(stored.legacy_path(version)), io)
    np.testing.assert_allclose(found, io["logits"], atol=TOLERANCE)


def test_what_is_written_is_read_back(version, tmp_path):
    policy = stored.arrays_of(f"{version}_params")
    value = stored.value_arrays(policy)
    reference = {name: array - 1 for name, array in policy.items()}
    write_legacy(stored.stored_model(policy, value, reference, step=9), tmp_path)
    model = open_legacy(tmp_path / "checkpoint_9")
    stored.assert_same(stored.read(model.policy), policy)
    stored.assert_same(stored.read(model.value), value)
    stored.assert_same(stored.read(model.reference), reference)
    assert model.step == 9 and not model.ignored
    assert model.value_config == {"network": "separate"}


def test_scanned_layers_and_bfloat16_are_kept(tmp_path):
    policy = {
        name: np.asarray(jnp.asarray(array, jnp.bfloat16))
        for name, array in stored.stacked(stored.arrays_of("t5_1_1_params")).items()
    }
    write_legacy(stored.stored_model(policy), tmp_path)
    model = open_legacy(tmp_path / "checkpoint_7")
    assert model.config.scan_layers
    stored.assert_same(stored.read(model.policy), policy)


def test_zeros_are_written_as_any_number(tmp_path):
    policy = stored.arrays_of("t5_1_1_params")
    policy[NAME] = np.zeros_like(policy[NAME])
    write_legacy(stored.stored_model(policy), tmp_path)
    found = open_legacy(tmp_path / "checkpoint_7").policy[NAME].read()
    np.testing.assert_array_equal(found, 0)


def test_each_device_reads_its_part():
    leaf = open_legacy(stored.legacy_path("t5_1_1")).policy[NAME]
    mesh = jax.make_mesh((4, 2), ("data", "model"))
    sharding = NamedSharding(mesh, PartitionSpec("model", "data"))
    placed = leaf.place(sharding)
    assert placed.sharding == sharding
    assert placed.addressable_shards[0].data.shape == (32, 8)
    np.testing.assert_array_equal(placed, stored.arrays_of("t5_1_1_params")[NAME])


@pytest.mark.parametrize("driver", ["gcs", "gfile"])
def test_where_it_was_written_does_not_matter(damaged, driver):
    def move(contents):
        spec = contents["optimizer"]["target"]
        for part in NAME.split("/"):
            spec = spec[part]
        spec["kvstore"] = {
            "driver": driver,
            "bucket": "t5x-dummy-bucket",
            "path": f"/elsewhere/{ZARR}",
        }

    change_index(damaged, move)
    found = open_legacy(damaged).policy[NAME].read()
    np.testing.assert_array_equal(found, stored.arrays_of("t5_1_1_params")[NAME])


def test_small_arrays_may_lie_in_the_index(damaged):
    scale = np.arange(32, dtype=np.float32)

    def inline(contents):
        contents["optimizer"]["target"]["decoder"]["decoder_norm"]["scale"] = scale

    change_index(damaged, inline)
    shutil.rmtree(damaged / "target.decoder.decoder_norm.scale")
    found = open_legacy(damaged).policy["decoder/decoder_norm/scale"].read()
    np.testing.assert_array_equal(found, scale)


@contextlib.contextmanager
def served(folder):
    """The URL of a folder on a web server."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Handler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_url_is_read():
    path = stored.legacy_path("t5_1_1")
    with served(path.parent) as url:
        model = open_legacy(f"{url}/{path.name}")
        found = stored.read(model.policy)
        with pytest.raises(CheckpointError, match=f"no {url}/none/checkpoint"):
            open_legacy(f"{url}/none")
    stored.assert_same(found, stored.arrays_of("t5_1_1_params"))


def truncate(path, keep=0.5):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "is damaged"),
        (b"\x93NUMPY" + bytes(range(256)), "is damaged"),
        (b'model_checkpoint_path: "model.ckpt-5"', "TensorFlow"),
        (serialization.msgpack_serialize([1, 2]), "is damaged"),
        (serialization.msgpack_serialize({"params": {}}), "'version'"),
        (
            serialization.msgpack_serialize({"version": 1, "optimizer": {}}),
            "version 1;",
        ),
        (
            serialization.msgpack_serialize({"version": 3, "optimizer": {}}),
            "missing decoder/decoder_norm/scale",
        ),
    ],
)
def test_a_foreign_index_is_named(tmp_path, contents, message):
    path = tmp_path / "checkpoint"
    path.write_bytes(contents)
    with pytest.raises(CheckpointError, match=message) as caught:
        open_legacy(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
def test_a_truncated_index_is_named(damaged, keep):
    truncate(damaged / "checkpoint", keep)
    with pytest.raises(CheckpointError, match="checkpoint_0/checkpoint is no index"):
        open_legacy(damaged)


def chunk(folder: pathlib.Path):
    return folder / ZARR / "0.0"


def shape_of_another(folder):
    shutil.copyfile(
        folder / "target.decoder.logits_dense.kernel" / ".zarray",
        folder / ZARR / ".zarray",
    )


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: shutil.rmtree(folder / ZARR),
        lambda folder: chunk(folder).unlink(),  # would read as zeros
        lambda folder: truncate(chunk(folder)),
        lambda folder: chunk(folder).write_bytes(b""),
        lambda folder: chunk(folder).write_bytes(bytes(range(256)) * 8),
        lambda folder: (folder / ZARR / ".zarray").write_text("{"),
        shape_of_another,
    ],
    ids=[
        "no folder",
        "no chunk",
        "truncated chunk",
        "empty chunk",
        "random chunk",
        "metadata",
        "shape",
    ],
)
def test_a_damaged_array_is_named(damaged, damage):
    damage(damaged)
    leaf = open_legacy(damaged).policy[NAME]
    with pytest.raises(CheckpointError) as caught:
        leaf.read()
    for part in (f"target/{NAME}", str(damaged), ZARR):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"driver": "zarr", "metadata": {"shape": [2]}}, "no description of an array"),
        ("text", "is no array but str"),
        (
            {
                "driver": "zarr",
                "dtype": "uint16",
                "kvstore": {"path": "x"},
                "metadata": {"shape": [32]},
            },
            "is of type uint16",
        ),
    ],
)
def test_an_entry_that_cannot_be_read_is_named(damaged, spec, message):
    def replace(contents):
        contents["optimizer"]["target"]["decoder"]["decoder_norm"]["scale"] = spec

    change_index(damaged, replace)
    with pytest.raises(CheckpointError, match=message) as caught:
        open_legacy(damaged)
    assert "target/decoder/decoder_norm/scale" in str(caught.value)
