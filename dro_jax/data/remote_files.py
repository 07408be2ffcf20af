"""Files behind URLs, by fsspec and what it needs for each kind of URL."""

from typing import Any, BinaryIO

from dro_jax.errors import DataError

_PACKAGES = {
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "s3": "s3fs",
    "hf": "huggingface_hub",
    "http": "aiohttp",
    "https": "aiohttp",
    "az": "adlfs",
    "abfs": "adlfs",
}


def open_remote(url: str) -> BinaryIO:
    """The bytes behind a URL.

    Raises:
      DataError: the kind of URL is not supported here, or it cannot be reached.
      FileNotFoundError: there is no such file.
    """
    system, path = _system(url)
    return _reached(url, lambda name: system.open(name, "rb"), path)


def can_list(url: str) -> bool:
    """Whether there are folders and patterns behind such URLs."""
    return not url.lower().startswith(("http://", "https://"))


def is_folder(url: str) -> bool:
    """Whether a URL is that of a folder."""
    system, path = _system(url)
    return _reached(url, system.isdir, path)


def matches(pattern: str) -> list[str]:
    """The URLs that a pattern matches."""
    system, path = _system(pattern)
    return [
        system.unstrip_protocol(name) for name in _reached(pattern, system.glob, path)
    ]


def _reached(url: str, ask: Any, path: str) -> Any:
    try:
        return ask(path)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise DataError(
            f"{url} cannot be reached ({type(error).__name__}: {_first_line(error)}): "
            "check the address and your credentials, or copy the file here first"
        ) from error


def _system(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it.

    Raises:
      DataError: fsspec, or what it needs for this kind of URL, is not installed.
    """
    kind = url.partition("://")[0].lower()
    package = _PACKAGES.get(kind)
    try:
        import fsspec

        return fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        remedy = f"pip install fsspec {package}, or " if package else ""
        raise DataError(
            f"{url}: {kind}:// is not supported by this installation "
            f"({_first_line(error)}): {remedy}copy the file here first"
        ) from error
    except Exception as error:
        raise DataError(
            f"{url} cannot be reached ({type(error).__name__}: {_first_line(error)}): "
            "check the address and your credentials, or copy the file here first"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["no message"])[0]
