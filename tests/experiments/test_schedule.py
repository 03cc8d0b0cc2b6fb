"""The watch decides as Keras' own callbacks do, and its state is plain data."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from rareseg.experiments.schedule import Watch, learning_rate
from rareseg.experiments.sections import Training


def training(**changes):
    values = {"optimiser": {"learning_rate": 0.1}, "schedule": "plateau", "stop_early": {"patience": 6}, **changes}
    return Training.model_validate(values).model_dump(mode="json")


def walk(seed, length=80):
    """Return validation losses that fall, stay, and jump."""
    draw = np.random.default_rng(seed)
    return (np.maximum(0.2, 1 - 0.05 * np.arange(length)) + draw.choice([0, 0.01, 0.1], length)).round(3).tolist()


PLATEAUS = [
    {"patience": 2, "cooldown": 0},
    {"patience": 3, "cooldown": 1},
    {"patience": 2, "cooldown": 3, "factor": 0.5, "least_rate": 0.02},
    {"patience": 4, "min_delta": 0.05},
]


@pytest.mark.parametrize("plateau", PLATEAUS)
@pytest.mark.parametrize("seed", range(3))
def test_rate_and_end_are_those_of_keras_callbacks(plateau, seed):
    keras = pytest.importorskip("keras")
    settings = training(plateau=plateau, stop_early={"patience": 25, "min_delta": 0.01})
    chosen = settings["plateau"]
    falls = keras.callbacks.ReduceLROnPlateau(
        monitor="val_loss",
        factor=chosen["factor"],
        patience=chosen["patience"],
        min_delta=chosen["min_delta"],
        cooldown=chosen["cooldown"],
        min_lr=chosen["least_rate"],
        mode="min",
    )
    stops = keras.callbacks.EarlyStopping(monitor="val_loss", patience=25, min_delta=0.01, mode="min")
    model = SimpleNamespace(optimizer=SimpleNamespace(learning_rate=np.float64(0.1)), stop_training=False)
    for callback in (falls, stops):
        callback.set_model(model)
        callback.on_train_begin()
    watch = Watch(0.1)
    for epoch, loss in enumerate(walk(seed)):
        watch.update(settings, {"val_loss": loss})
        for callback in (falls, stops):
            callback.on_epoch_end(epoch, {"val_loss": loss})
        assert watch.rate == pytest.approx(float(model.optimizer.learning_rate), rel=1e-6)
        assert watch.stopped == model.stop_training
        if watch.stopped:
            break
    assert watch.rate < 0.1


@pytest.mark.parametrize("after", [0, 1, 17, 40])
def test_the_state_goes_through_json(after):
    settings, watch = training(), Watch(0.1)
    for epoch, loss in enumerate(walk(1)):
        if epoch == after:
            watch = Watch.of(json.loads(json.dumps(watch.state(), allow_nan=False)))
        watch.update(settings, {"val_loss": loss})
    expected = Watch(0.1)
    for loss in walk(1):
        expected.update(settings, {"val_loss": loss})
    assert watch == expected


def test_the_last_better_epoch_is_the_lowest_loss_or_the_highest_overlap_and_ties_go_to_the_first():
    rows = [{"val_loss": loss, "val_dsc": 1 - loss, "val_jaccard": 0.5} for loss in (0.5, 0.3, 0.4, 0.3)]
    for monitor, best in (("val_loss", 2), ("val_dsc", 2), ("val_jaccard", 1)):
        watch = Watch(0.1)
        found = [watch.update(training(monitor=monitor), row) for row in rows]
        assert max(epoch for epoch, better in enumerate(found, start=1) if better) == best


def test_the_cosine_schedule_falls_from_the_first_rate_to_zero():
    rates = [learning_rate(training(schedule="cosine"), 0.003, step, 10) for step in range(11)]
    assert rates[0] == 0.003
    assert rates[5] == pytest.approx(0.0015)
    assert rates[10] == pytest.approx(0)
    assert rates == sorted(rates, reverse=True)


def test_decay_divides_the_rate_as_the_older_keras_did():
    settings = training(schedule="none", optimiser={"name": "sgd", "learning_rate": 0.01, "decay": 1e-6})
    assert learning_rate(settings, 0.01, 1000, 5000) == pytest.approx(0.01 / 1.001)
