"""TensorFlow imported, by whoever needs it, without its notes and its hold on GPUs.

No command needs it. Tasks whose records come from TFDS or another source of seqio's do,
and modules of people's own that import seqio.
"""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

from dro_jax import messages
from dro_jax.import_hooks import around_import


def prepare() -> None:
    """Sees to it that an import of TensorFlow in this process goes as :func:`started`."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    around_import("tensorflow", started)


@contextlib.contextmanager
def started() -> Iterator[None]:
    """What it and other libraries in C++ print in the block is hidden."""
    messages.say("importing TensorFlow …")
    with hidden_native_notes():
        yield
        # It only feeds data; left alone it would take the GPUs' memory.
        sys.modules["tensorflow"].config.set_visible_devices([], "GPU")


@contextlib.contextmanager
def hidden_native_notes() -> Iterator[None]:
    """What libraries in C++ write to file descriptor 2 itself is lost in the block."""
    # Python's errors are raised, not printed, so none is lost.
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
