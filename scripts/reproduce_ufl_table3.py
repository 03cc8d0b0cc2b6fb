"""Reproduce Table 3 of Yeung et al.: DRIVE, eight losses, nine gammas."""

from rareseg.experiments import main

raise SystemExit(main("ufl_table3"))
