"""One module per command of `python -m mre`.

Each has a docstring (what it does, and an example: shown by --help), `add_arguments(parser)` and `run(args) -> int | None`.
Heavy imports sit inside `run`, so that --help is instant.
"""
