"""What must not be imported before it is used."""

import subprocess
import sys

CODE = """
import sys
import dro_jax.data, dro_jax.data.sources, dro_jax.data.rewards, tasks
assert not {"seqio", "tensorflow", "matplotlib", "rich"} & sys.modules.keys()
"""


def test_sources_and_rewards_need_no_tensorflow():
    subprocess.run([sys.executable, "-c", CODE], check=True)
