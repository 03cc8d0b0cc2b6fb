"""Reproduce Table 2 of Kaul et al.: the threshold of the adaptive logarithmic loss."""

from rareseg.experiments import main

raise SystemExit(main("table2"))
