"""Reproduce Table 4 of Kaul et al.: ISIC 2018, three networks, three runs each."""

from rareseg.experiments import main

raise SystemExit(main("table4"))
