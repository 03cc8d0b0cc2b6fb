"""Verify, report, split and cache data sets: the first thing to run on files of one's own."""

from rareseg.experiments import main

raise SystemExit(main("prepare"))
