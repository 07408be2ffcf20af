"""A golden model of Hugging Face's, to be changed and spoilt."""

import pathlib
import shutil

import pytest
from safetensors.numpy import load_file

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "hf" / "t5_v1_1"


@pytest.fixture
def state():
    return load_file(GOLDEN / "model.safetensors")


@pytest.fixture
def folder(tmp_path):
    """A copy of a golden model, to be spoilt."""
    copy = tmp_path / "model"
    shutil.copytree(GOLDEN, copy)
    return copy
