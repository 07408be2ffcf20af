"""The `dro-jax` command, and all that concerns gin."""
