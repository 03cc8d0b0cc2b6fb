"""Reproduce Table 1 of Yeung et al.: the five data sets; nothing is trained."""

from rareseg.experiments import main

raise SystemExit(main("ufl_table1"))
