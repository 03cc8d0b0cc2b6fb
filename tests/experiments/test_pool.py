"""Which job comes next."""

from rareseg.experiments import pool

SHARED = dict.fromkeys(("optimiser", "supervision", "mixed_precision", "xla"))
PIPELINE = {"analysis": "patches", "patch": [8, 8]}


def job(folder, name, network, **length):
    training = {**SHARED, "threads": 1, "deterministic": True, "devices": 1, "batch_size": 2, "steps": None, **length}
    settings = {"network": network, "pipeline": PIPELINE, "dataset": {"channels": 1}, "training": training}
    place = {"folder": str(folder / name), "evaluation": "e", "tried": None}
    return {"id": name, "settings": settings, "training": training, "seed": 0, **place}


def test_the_step_with_most_work_comes_first_and_of_it_the_longest_job(tmp_path):
    jobs = [
        job(tmp_path, "long but alone", "focusnet", steps=99),
        job(tmp_path, "short", "unet", epochs=1),
        job(tmp_path, "longest", "unet", steps=9, epochs=2),
        job(tmp_path, "longer", "unet", epochs=3),
    ]
    one, order = pool.Pool(jobs, 1, tmp_path / "log", lambda _: None), []
    for _ in jobs:
        following = one._next(None)
        one._waiting.remove(following)
        order.append(following["id"])
    assert order == ["longest", "longer", "long but alone", "short"]
