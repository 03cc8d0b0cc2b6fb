"""Reproduce Table 3 of Kaul et al.: three 2D data sets, two networks, six losses."""

from rareseg.experiments import main

raise SystemExit(main("table3"))
