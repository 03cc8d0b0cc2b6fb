"""Say what this machine has, what is missing, and what mends it."""

from rareseg.experiments import main

raise SystemExit(main("doctor"))
