"""Options of XLA's compilers for a train step, by the platform that they are for."""

from collections.abc import Mapping

import jax

from dro_jax.errors import ConfigError

Option = bool | int | float | str
CompilerOptions = Mapping[str, Option]
OptionsByPlatform = Mapping[str, CompilerOptions]

PLATFORMS = ("cpu", "gpu", "tpu")
# As JAX's devices name a GPU's maker.
_PLATFORM_OF = {"cuda": "gpu", "rocm": "gpu"}


def check_compiler_options(options: OptionsByPlatform | None) -> None:
    """Refuse what are no options by platform.

    Raises:
      ConfigError: so they are.
    """
    if options is None:
        return
    form = "give them by platform, {'tpu': {'xla_…': True}}"
    if not isinstance(options, Mapping) or not set(options) <= set(PLATFORMS):
        raise ConfigError(
            f"COMPILER_OPTIONS = {options!r}: {form}; platforms are "
            f"{', '.join(PLATFORMS)}"
        )
    for platform, found in options.items():
        if not isinstance(found, Mapping) or not all(
            isinstance(name, str) and isinstance(value, Option)
            for name, value in found.items()
        ):
            raise ConfigError(f"COMPILER_OPTIONS of {platform!r} = {found!r}: {form}")


def options_for(
    sharding: jax.sharding.NamedSharding, options: OptionsByPlatform | None
) -> CompilerOptions | None:
    """Those of a mesh's platform, which its compiler takes; None for none.

    Args:
      sharding: of a scalar over the mesh's devices.
      options: of all platforms.

    Raises:
      ConfigError: the compiler refuses one.
    """
    platform = sharding.mesh.devices.flat[0].platform
    found = (options or {}).get(_PLATFORM_OF.get(platform, platform))
    if not found:
        return None
    # Now, and not after minutes of a large step's compilation.
    scalar = jax.ShapeDtypeStruct((), "float32", sharding=sharding)
    for name, value in found.items():
        compiled = jax.jit(lambda x: x + 1, compiler_options={name: value})
        try:
            compiled.lower(scalar).compile()
        except jax.errors.JaxRuntimeError as error:
            raise ConfigError(
                f"COMPILER_OPTIONS: the compiler of {platform} does not take "
                f"{name} = {value!r}: {str(error).splitlines()[0]}"
            ) from None
    return dict(found)
