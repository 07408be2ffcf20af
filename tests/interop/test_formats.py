"""Which format a path holds, and writing each."""

import os
import pathlib
import pickle
import shutil

import gin
import numpy as np
import pytest
import stored

from dro_jax.cli import gin_setup
from dro_jax.errors import CheckpointError, ConfigError
from dro_jax.interop import formats
from dro_jax.interop.t5x_legacy import write_legacy

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
ORBAX = GOLDEN / "t5x" / "tiny_orbax_checkpoint"
LEGACY = GOLDEN / "t5x" / "t5_1_1_legacy_checkpoint"


@pytest.fixture
def model():
    return formats.open_model(LEGACY)


@pytest.mark.parametrize(
    ("path", "format"),
    [
        (ORBAX, "t5x"),
        (ORBAX / "checkpoint_20", "t5x"),
        (LEGACY, "t5x-legacy"),
        (f"{LEGACY}/checkpoint_0/", "t5x-legacy"),
        (f"file://{LEGACY}", "t5x-legacy"),
        (GOLDEN / "hf" / "t5_v1_1", "hf"),
    ],
)
def test_formats_are_recognised(path, format):
    assert formats.recognise(path) == format
    assert formats.open_model(path).format == format


def test_a_folder_of_the_trainer_is_recognised(tmp_path):
    shutil.copytree(ORBAX, tmp_path, dirs_exist_ok=True)
    (tmp_path / "checkpoint_20" / "run").mkdir()
    assert formats.recognise(tmp_path) == "dro-jax"


def test_the_newest_complete_checkpoint_counts(tmp_path, model):
    for step in (9, 10):
        write_legacy(
            stored.stored_model(stored.read(model.policy), step=step), tmp_path
        )
    (tmp_path / "checkpoint_11").mkdir()
    (tmp_path / "checkpoint_12.partial").mkdir()
    assert formats.open_model(tmp_path).step == 10


@pytest.mark.parametrize("format", ["t5x", "t5x-legacy", "dro-jax"])
@pytest.mark.parametrize("scan_layers", [False, True])
def test_what_is_written_is_recognised_and_equal(tmp_path, model, format, scan_layers):
    source = formats.open_model(LEGACY, scan_layers=scan_layers)
    destination = tmp_path / "new" / "model"
    formats.write_model(source, destination, format)
    found = formats.open_model(destination)
    assert found.format == format
    assert found.config == source.config
    stored.assert_same(stored.read(found.policy), stored.read(source.policy))
    back = formats.open_model(destination, scan_layers=False)
    stored.assert_same(stored.read(back.policy), stored.read(model.policy))
    assert os.listdir(tmp_path / "new") == ["model"]


def test_the_gin_file_of_a_written_model_builds_it(tmp_path, model):
    formats.write_model(model, tmp_path, "dro-jax")
    files = [str(tmp_path / "model.gin"), "gin_configs/objectives/dro_v.gin"]
    gin.clear_config()
    try:
        gin_setup.parse(files, [])
        network = gin_setup.macro("MODEL").network_config
    finally:
        gin.clear_config()
    wanted = {"dropout_rate": 0.0}
    for name in vars(network):
        value = wanted.get(name, getattr(model.config, name))
        assert getattr(network, name) == value, name


def test_a_destination_that_holds_something_is_kept(tmp_path, model):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="is there already, and not empty"):
        formats.write_model(model, tmp_path, "t5x")
    assert os.listdir(tmp_path) == ["notes.txt"]


@pytest.mark.parametrize("format", ["t5x", "t5x-legacy", "dro-jax"])
def test_a_conversion_that_fails_leaves_nothing(tmp_path, format):
    source = stored.copied(LEGACY, tmp_path)
    shutil.rmtree(source / "checkpoint_0" / "target.decoder.logits_dense.kernel")
    with pytest.raises(CheckpointError, match="target/decoder/logits_dense/kernel"):
        formats.write_model(formats.open_model(source), tmp_path / "new", format)
    assert os.listdir(tmp_path) == [source.name]


@pytest.mark.parametrize(
    ("destination", "tokenizer", "message"),
    [
        ("gs://bucket/folder", None, "local folders alone"),
        ("new", "tokenizer", "only in 'hf'"),
        ("/dev/null/new", None, "cannot be written"),
    ],
)
def test_a_destination_that_cannot_be(
    tmp_path, model, destination, tokenizer, message, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        formats.write_model(model, destination, "t5x", tokenizer=tokenizer)
    assert not os.listdir(tmp_path)


def test_an_empty_folder_is_told_what_was_looked_for(tmp_path):
    with pytest.raises(CheckpointError, match="no complete checkpoint") as caught:
        formats.recognise(tmp_path)
    for part in (str(tmp_path), "checkpoint_N", "'state'", "config.json"):
        assert part in str(caught.value)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "last.ckpt"])
def test_a_pickle_is_refused(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(pickle.dumps({"w": np.ones(2)}))
    for given in (path, tmp_path):
        with pytest.raises(CheckpointError, match="safetensors") as caught:
            formats.open_model(given)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://host/folder", "nowhere://x"])
def test_a_url_of_an_unknown_kind_is_refused(url):
    with pytest.raises(CheckpointError, match="no URL that TensorStore can read"):
        formats.recognise(url)


@pytest.mark.slow
def test_a_place_that_cannot_be_reached_is_named():
    url = "http://127.0.0.1:9/model"  # the port that discards
    with pytest.raises(CheckpointError, match=f"{url}/config.json cannot be read"):
        formats.recognise(url)


def test_a_missing_folder_is_named():
    with pytest.raises(CheckpointError, match="at /no/such: there is no such folder"):
        formats.recognise("/no/such")


@pytest.mark.parametrize("version", stored.VERSIONS)
def test_t5xs_logits_survive_every_format(tmp_path, version):
    model = formats.open_model(stored.legacy_path(version))
    for number, format in enumerate(("dro-jax", "hf", "dro-jax", "t5x")):
        folder = tmp_path / f"{number}_{format}"
        formats.write_model(model, folder, format)
        model = formats.open_model(folder)
        assert model.format == format
    io = stored.arrays_of(f"{version}_io")
    np.testing.assert_allclose(stored.logits(model, io), io["logits"], atol=1e-5)
