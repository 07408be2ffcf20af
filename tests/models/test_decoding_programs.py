"""Programs that decode, on a CPU."""

import jax

from dro_jax.models import decoding_programs
from dro_jax.training.sharding import MeshConfig


def test_programs_of_a_cpu_have_options_that_its_compiler_takes():
    double = decoding_programs.decoding_program(("by",))(lambda x, by: x * by)
    decoding_programs._options.cache_clear()
    with jax.set_mesh(MeshConfig().build().mesh):  # as commands ask for them
        assert decoding_programs._options()
    assert (double(2.0, by=3), jax.jit(lambda x: double(x, by=3))(2.0)) == (6.0, 6.0)
