"""A command that works through jobs with tiny workers.

Called as ``tiny_command.py FOLDER NUMBER SECONDS WORKERS [INDEX:raises|starves|dies ...]``.
"""

import json
import sys
from pathlib import Path

from rareseg.experiments import pool

TRAINING = {"threads": 1, "deterministic": True, "devices": 1, "batch_size": 2, "steps": 5}
TRAINING |= {"optimiser": {}, "supervision": None, "mixed_precision": None, "xla": None}
PIPELINE = {"analysis": "patches", "patch": [8, 8]}
SETTINGS = {"network": {}, "pipeline": PIPELINE, "dataset": {"channels": 1, "size": None}, "training": TRAINING}


def main(folder, number, seconds, workers, *failing):
    """Print every event of the pool as a line of JSON."""
    fates = dict(one.split(":") for one in failing)
    jobs = [
        {
            "id": f"run-{index}",
            "folder": str(Path(folder) / "runs" / f"run-{index}"),
            "settings": SETTINGS,
            "training": TRAINING,
            "seed": 0,
            "losses": [],
            "operations": 1,
            "evaluation": "e",
            "tried": None,
            "seconds": float(seconds),
            "fate": fates.get(str(index)),
        }
        for index in range(int(number))
    ]
    pool.WORKER = (str(Path(__file__).with_name("tiny_worker.py")),)
    log = Path(folder) / "workers.log"
    pool.Pool(jobs, int(workers), log, lambda event: print(json.dumps(event), flush=True)).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
