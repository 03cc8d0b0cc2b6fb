"""Reproduce Table 2 of Yeung et al.: CVC-ClinicDB, eight losses, nine gammas."""

from rareseg.experiments import main

raise SystemExit(main("ufl_table2"))
