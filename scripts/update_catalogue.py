"""Write ``configs/catalogue.json`` anew, after a loss or a network changed its arguments."""

from pathlib import Path

from rareseg.experiments import catalogue

Path("configs/catalogue.json").write_text(catalogue.generate(), encoding="utf-8")
