"""TensorFlow imported without its notes, and without its hold on GPUs."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

from dro_jax import messages


@contextlib.contextmanager
def started() -> Iterator[None]:
    """Imports it; what it and other libraries in C++ print meanwhile is hidden."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if "tensorflow" not in sys.modules:
        messages.say("importing TensorFlow …")
    with _hidden_native_notes():
        import tensorflow

        # It only feeds data; left alone it would take the GPUs' memory.
        tensorflow.config.set_visible_devices([], "GPU")
        yield


@contextlib.contextmanager
def _hidden_native_notes() -> Iterator[None]:
    # Libraries in C++ write to file descriptor 2 itself. Python's errors are raised,
    # not printed, so none is lost.
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
