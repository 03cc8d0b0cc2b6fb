"""YAML -> runs -> stored results -> tables and figures.

In: a configuration (``configs/*.yaml``) and the command line. Out: a results folder, described in README.md. The way
through: ``cli`` reads ``config``, makes the runs of the ``grid``, opens their ``cases``, gives those that are due to
a ``pool`` of ``worker`` processes, in which ``training`` and ``scoring`` happen, and writes the ``report``.
``store`` and ``checkpoint`` are the only ones that write runs.
"""

from rareseg.experiments.cli import main

__all__ = ["main"]
