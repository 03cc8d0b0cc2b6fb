"""Reproduce Table 6 of Yeung et al.: KiTS19 in 3D, eight losses, two classes."""

from rareseg.experiments import main

raise SystemExit(main("ufl_table6"))
