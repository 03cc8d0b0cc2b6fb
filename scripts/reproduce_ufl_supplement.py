"""Sweep lambda and delta of the Unified Focal loss of Yeung et al.; there are no published values."""

from rareseg.experiments import main

raise SystemExit(main("ufl_supplement"))
