"""Training is exact: alone or among others, unbroken or resumed, the weights are the same to the last bit."""

import shutil
import threading
import time

import numpy as np
import pytest

from rareseg.experiments import hardware, store
from rareseg.experiments.sections import Training
from rareseg.experiments.session import Session
from rareseg.experiments.training import Diverged, Interrupted, Trainer, overlap

NETWORK = {"name": "unet_demo", "filters": 2, "depth": 2, "dropout": 0.3}
LOSSES = [{"name": name} for name in ("jaccard", "dice", "tversky", "focal", "combo", "adaptive_log")]


def training_section(**changes):
    values = {"optimiser": {"learning_rate": 0.003}, "epochs": 3, "checkpoint_seconds": 0, **changes}
    return Training.model_validate(values).model_dump(mode="json")


TRAINING = training_section(schedule="cosine")
VALIDATED = training_section(  # every part of its state matters within nine epochs
    schedule="plateau",
    plateau={"patience": 1, "cooldown": 1, "factor": 0.3, "min_delta": 0.02},
    stop_early={"patience": 3, "min_delta": 0.01},
    selection="best_validation",
    epochs=11,
)


class Batches:
    """Five batches of two images, a pure function of epoch and index."""

    epoch, workers = 0, 1

    def __len__(self):
        return 5

    def __getitem__(self, index):
        draw = np.random.default_rng((self.epoch, index))
        images = draw.random((2, 16, 16, 3), dtype="float32")
        return images, (images[..., 0] > 0.7).astype("uint8")

    def ids(self, index):
        return [f"{self.epoch}-{index}"]


def session(choices=LOSSES, network=NETWORK, classes=2, **changes):
    return Session(network, 0, (16, 16, 3), classes, training_section(**changes), choices)


@pytest.fixture(scope="module")
def shared():
    return session()


def watcher(session, losses=None):
    """Return a look at one batch; given ``losses``, the loss of an epoch is taken from there."""
    images, labels = Batches()[4]

    def validate(epoch):
        loss, counts = session.test(images, labels)
        return losses[epoch] if losses else loss, counts

    return validate


def trained(session, folder, loss, training=TRAINING, batches=None, stop=lambda: False, validate=None):
    trainer = Trainer(session, store.Run(folder), batches or Batches(), loss, training, validate)
    trainer.resume()
    trainer.fit(lambda _: None, stop)
    return (folder / "model.weights.h5").read_bytes()


@pytest.fixture(scope="module")
def unbroken(shared, tmp_path_factory):
    return trained(shared, tmp_path_factory.mktemp("unbroken"), LOSSES[1])


def test_a_session_used_before_gives_the_same_weights(shared, unbroken, tmp_path):
    assert trained(shared, tmp_path / "other", LOSSES[3]) != unbroken
    assert trained(shared, tmp_path / "again", LOSSES[1]) == unbroken


def test_a_loss_alone_gives_the_same_weights_as_among_six(unbroken, tmp_path):
    assert trained(session([LOSSES[1]]), tmp_path, LOSSES[1]) == unbroken


@pytest.mark.parametrize("last", [1, 5, 7, 10, 14])
def test_a_stopped_run_goes_on_to_the_same_weights_and_history(shared, unbroken, tmp_path, last):
    seen = iter(range(1, 100))
    with pytest.raises(Interrupted, match=f"after step {last} of 15"):
        trained(shared, tmp_path, LOSSES[1], stop=lambda: next(seen) == last)
    assert not (tmp_path / "model.weights.h5").exists()
    trained(shared, tmp_path / "between", LOSSES[2])
    assert trained(shared, tmp_path, LOSSES[1]) == unbroken
    steps = [line.split(",")[1] for line in (tmp_path / "history.csv").read_text().splitlines()]
    assert steps == ["step", "5", "10", "15"]


def test_a_checkpoint_of_another_run_is_refused_by_name(shared, tmp_path):
    seen = iter(range(1, 100))
    with pytest.raises(Interrupted):
        trained(shared, tmp_path / "one", LOSSES[1], stop=lambda: next(seen) == 2)
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    with pytest.raises(ValueError, match="is a checkpoint of one, not of this run: remove it"):
        Trainer(shared, store.Run(tmp_path / "other"), Batches(), LOSSES[1], TRAINING).resume()


def test_a_checkpoint_of_other_versions_is_told(shared, tmp_path, monkeypatch):
    seen, told = iter(range(1, 100)), []
    with pytest.raises(Interrupted):
        trained(shared, tmp_path, LOSSES[1], stop=lambda: next(seen) == 2)
    Trainer(shared, store.Run(tmp_path), Batches(), LOSSES[1], TRAINING).resume(told.append)
    assert not told
    monkeypatch.setattr(hardware, "versions", lambda: {"keras": "0.1"})
    assert Trainer(shared, store.Run(tmp_path), Batches(), LOSSES[1], TRAINING).resume(told.append) == 2
    assert len(told) == 1
    assert "was saved with other versions of" in told[0]
    assert "keras" in told[0]


class OneAtATime(Batches):
    """Batches that two threads must not make at once, as MIScnn's."""

    def __init__(self):
        self.lock = threading.Lock()

    def __getitem__(self, index):
        assert self.lock.acquire(blocking=False), "two batches were made at once"
        time.sleep(0.02)
        self.lock.release()
        return super().__getitem__(index)


def test_batches_are_made_by_as_many_threads_as_they_allow(shared, unbroken, tmp_path):
    loading = {**TRAINING, "loaders": 4}
    assert trained(shared, tmp_path, LOSSES[1], loading, OneAtATime()) == unbroken


def test_the_state_of_dropout_is_part_of_the_checkpoint(shared, unbroken, tmp_path, monkeypatch):
    seen = iter(range(1, 100))
    with pytest.raises(Interrupted):
        trained(shared, tmp_path, LOSSES[1], stop=lambda: next(seen) == 7)
    real = Session.restore

    def forgetful(self, path):
        real(self, path)
        generators = [variable for variable in self.model.variables if "seed_generator" in variable.path]
        assert generators
        for variable in generators:
            variable.assign([0, 0])

    monkeypatch.setattr(Session, "restore", forgetful)
    assert trained(shared, tmp_path, LOSSES[1]) != unbroken


class NotANumber(Batches):
    def __getitem__(self, index):
        images, labels = super().__getitem__(index)
        if (self.epoch, index) == (1, 2):
            images[0, 3, 3, 0] = np.nan
        return images, labels


def test_a_loss_that_is_not_finite_stops_the_run_within_the_step_and_names_the_cases(shared, tmp_path):
    with pytest.raises(Diverged, match=r"the loss is nan in step 8, cases 1-2"):
        trained(shared, tmp_path, LOSSES[1], batches=NotANumber())
    assert not (tmp_path / "model.weights.h5").exists()


def test_weight_decay_acts_on_the_weights_and_not_on_the_reported_loss(shared):
    images, labels = Batches()[0]
    decayed = session(network={**NETWORK, "decay": 0.01})
    losses, sizes = [], []
    for one in (shared, decayed):
        one.reset(LOSSES[0])
        losses += [one.step(images, labels, 0.003)[0]]
        for _ in range(5):
            one.step(images, labels, 0.003)
        sizes += [sum(float(np.square(layer.kernel).sum()) for layer in one.network.layers if "conv" in layer.name)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert sizes[1] < 0.99 * sizes[0]


FALLING = [0.9, 0.8, 0.7, 0.75, 0.695, 0.6, 0.8, 0.9, 0.9]  # the best is epoch 6; three without better end the run


@pytest.fixture(scope="module")
def watched(shared, tmp_path_factory):
    """An unbroken run with plateau, early stopping and the best weights."""
    folder = tmp_path_factory.mktemp("watched")
    return folder, trained(shared, folder, LOSSES[1], VALIDATED, validate=watcher(shared, FALLING))


def rows(folder):
    text = (folder / "history.csv").read_text().splitlines()
    return [dict(zip(text[0].split(","), line.split(","), strict=True)) for line in text[1:]]


def test_validation_decides_rate_end_and_weights(shared, watched, tmp_path):
    folder, best = watched
    history = rows(folder)
    assert [float(row["val_loss"]) for row in history] == FALLING
    assert all(0 <= float(row["val_jaccard"]) <= float(row["val_dsc"]) <= 1 for row in history)
    rates = [float(row["learning_rate"]) for row in history]
    assert rates[3] == 0.003
    assert rates[4] == pytest.approx(0.0009)  # one epoch without better
    shorter = training_section(**{**VALIDATED, "epochs": 6, "selection": "last"})
    assert trained(shared, tmp_path, LOSSES[1], shorter, validate=watcher(shared, FALLING)) == best


RARER = [pytest.param(last, marks=pytest.mark.slow) for last in (5, 24, 40)]


@pytest.mark.parametrize("last", [17, 31, *RARER])
def test_a_stopped_run_with_validation_goes_on_to_the_same_weights_and_history(shared, watched, tmp_path, last):
    seen = iter(range(1, 100))
    validate = watcher(shared, FALLING)
    with pytest.raises(Interrupted, match=f"after step {last} of 55"):
        trained(shared, tmp_path, LOSSES[1], VALIDATED, stop=lambda: next(seen) == last, validate=validate)
    trained(shared, tmp_path / "between", LOSSES[2])
    assert trained(shared, tmp_path, LOSSES[1], VALIDATED, validate=validate) == watched[1]
    without_time = [[value for key, value in row.items() if key != "seconds"] for row in rows(tmp_path)]
    assert without_time == [[value for key, value in row.items() if key != "seconds"] for row in rows(watched[0])]


def test_a_validation_loss_that_is_not_finite_ends_the_run(shared, tmp_path):
    with pytest.raises(Diverged, match="the validation loss is nan after epoch 2"):
        trained(shared, tmp_path, LOSSES[1], VALIDATED, validate=watcher(shared, [0.5, float("nan")]))


def test_the_look_at_validation_changes_no_weight(shared, unbroken, tmp_path):
    assert trained(shared, tmp_path, LOSSES[1], validate=watcher(shared)) == unbroken


def test_counts_are_those_of_each_foreground_class():
    one = session([LOSSES[1]], classes=3)
    images, labels = Batches()[0]
    labels = labels + (images[..., 1] > 0.8).astype("uint8")
    labels[0, :2] = 255  # no class
    one.reset(LOSSES[1])
    loss, counts = one.test(images, labels)
    found = one.predictor.predict_on_batch(images).argmax(-1)
    found = np.where(labels == 255, 0, found)
    expected = [
        [
            ((labels == c) & (found == c)).sum(),
            ((labels != c) & (found == c)).sum(),
            ((labels == c) & (found != c)).sum(),
        ]
        for c in (1, 2)
    ]
    assert counts.tolist() == expected
    assert np.isfinite(loss)
    dsc = np.mean([2 * tp / (2 * tp + fp + fn) for tp, fp, fn in expected])
    assert overlap(counts)[1] == pytest.approx(dsc)
    logits = one.predictor.predict_on_batch(images)
    assert one.judge(logits, labels)[0] == pytest.approx(loss, rel=1e-5)
    assert one.judge(logits, labels)[1].tolist() == expected


@pytest.mark.slow
def test_several_outputs_are_trained_by_the_weighted_sum_of_their_losses():
    from rareseg import losses

    network = {"name": "attention_unet", "width": 2}
    final, weights = {"name": "tversky", "delta": 0.7}, [1, 2, 3, 4]
    supervision = {"final": final, "weights": weights, "offset": "origin"}
    one = session([{"name": "focal_tversky"}], network=network, supervision=supervision)
    images, labels = Batches()[1]
    one.reset({"name": "focal_tversky"})
    outputs = one.network.predict_on_batch(images)
    expected = 0.0
    for weight, step, output in zip(weights, (8, 4, 2, 1), outputs, strict=True):
        loss = losses.get({**(final if step == 1 else {"name": "focal_tversky"}), "from_logits": True})
        expected += weight * float(loss(labels[:, ::step, ::step], output))
    assert one.test(images, labels)[0] == pytest.approx(expected, rel=1e-4)
    assert one.predictor.predict_on_batch(images).tolist() == outputs[-1].tolist()
    before = one.test(images, labels)[0]
    for _ in range(20):
        one.step(images, labels, 0.01)
    assert one.test(images, labels)[0] < before


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_mixed_precision_keeps_weights_in_float32_and_learns(half):
    one = session([LOSSES[1]], mixed_precision=half)
    assert {weight.dtype for weight in one.network.weights if "kernel" in weight.path} == {"float32"}
    assert {layer.compute_dtype for layer in one.network.layers if "conv" in layer.name} == {half}
    images, labels = Batches()[0]
    one.reset(LOSSES[1])
    values = [one.step(images, labels, 0.003)[0] for _ in range(15)]
    assert values[-1] < values[0]
    plain = session([LOSSES[1]])
    assert {layer.compute_dtype for layer in plain.network.layers} == {"float32"}
