"""seqio tasks that ship with dro_jax, and their reward functions: `dro_jax.tasks`."""

import sys

# With a checkout on the path this can be imported by its folder's name. Whose that name
# is, dro_jax's finder knows; where it is ours it stands for dro_jax.tasks.
if __name__ == "tasks":
    import importlib

    from dro_jax.shipped_names import is_ours

    if is_ours(__path__[0]):
        del sys.modules[__name__]
        importlib.import_module(__name__)
