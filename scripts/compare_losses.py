"""Train and compare any losses on any data set or your own folder: compare_losses.py CONFIG."""

from rareseg.experiments import main

raise SystemExit(main("compare"))
