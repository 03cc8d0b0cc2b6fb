"""Reproduce Table 4 of Yeung et al.: BUS2017, eight losses, nine gammas."""

from rareseg.experiments import main

raise SystemExit(main("ufl_table4"))
