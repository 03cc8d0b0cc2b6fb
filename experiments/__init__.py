"""YAML -> runs -> stored results -> tables and figures.

In: a configuration (``configs/*.yaml``) and the command line. Out: a results folder, described in README.md. The way
through: ``cli`` reads ``config``, makes the runs of the ``grid``, opens their ``cases``, gives those that are due to
a ``pool`` of ``worker`` processes, in which ``training`` (a ``session``, its ``validation``, its ``schedule``) and
``scoring`` happen, and writes the ``report``. Into the folder of a run, which ``store`` keeps with its record and its
lock, each of them writes what it makes: ``training`` weights, history, a ``checkpoint`` and ``events``, ``scoring`` an
evaluation, the ``worker`` a log.
``sections`` says what a configuration may hold, ``checks`` what must hold in it, ``resolve`` what follows for one run;
``cost`` and ``measure`` say what a run takes.
"""

from rareseg.experiments.cli import main

__all__ = ["main"]
