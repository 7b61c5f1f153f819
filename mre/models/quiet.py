"""Keeps what the libraries say to their own developers out of a user's terminal, while models are imported and read."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Errors only from diffusers and transformers, and no progress bars of theirs. What goes wrong is raised, not logged."""
    loggers = [logging.getLogger(name) for name in ("transformers", "diffusers", "accelerate")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        import diffusers.utils.logging as of_diffusers
        import transformers.utils.logging as of_transformers

        speaking = [library for library in (of_diffusers, of_transformers) if library.is_progress_bar_enabled()]
        for logger in loggers:              # the first import sets the levels anew
            logger.setLevel(logging.ERROR)
        for library in speaking:
            library.disable_progress_bar()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                yield
        finally:
            for library in speaking:
                library.enable_progress_bar()
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
