"""Reproduce Table 5 of Yeung et al.: BraTS 2020 in 3D, eight losses."""

from rareseg.experiments import main

raise SystemExit(main("ufl_table5"))
