"""Draw the figures of both papers from stored runs."""

from rareseg.experiments import main

raise SystemExit(main("figures"))
