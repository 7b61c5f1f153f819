"""The version of MRE Studio."""

__version__ = "0.2.0"
