"""Reproduce Table 1 of Kaul et al.: two arguments of the adaptive logarithmic loss."""

from rareseg.experiments import main

raise SystemExit(main("table1"))
