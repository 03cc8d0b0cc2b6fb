"""Write ``configs/catalogue.json`` and ``configs/schema.json`` anew, after a loss, a network or a key changed."""

from pathlib import Path

from rareseg.experiments import catalogue, explain

CONFIGS = Path(__file__).parents[1] / "configs"
(CONFIGS / "catalogue.json").write_text(catalogue.generate(), encoding="utf-8")
(CONFIGS / "schema.json").write_text(explain.schema(), encoding="utf-8")
