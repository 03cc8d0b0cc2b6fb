"""Training is exact: alone or among others, unbroken or resumed, the weights are the same to the last bit."""

import numpy as np
import pytest

from rareseg.experiments import store
from rareseg.experiments.training import Diverged, Interrupted, Session, Trainer, learning_rate

NETWORK = {"name": "unet_demo", "filters": 2, "depth": 2, "dropout": 0.3}
LOSSES = [{"name": name} for name in ("jaccard", "dice", "tversky", "focal", "combo", "adaptive_log")]
TRAINING = {
    "optimiser": {"name": "adam", "learning_rate": 0.003},
    "schedule": "cosine",
    "epochs": 3,
    "steps": None,
    "checkpoint_seconds": 0,
}


class Batches:
    """Five batches of two images, a pure function of epoch and index."""

    epoch = 0

    def __len__(self):
        return 5

    def __getitem__(self, index):
        draw = np.random.default_rng((self.epoch, index))
        images = draw.random((2, 16, 16, 3), dtype="float32")
        return images, (images[..., 0] > 0.7).astype("uint8")

    def ids(self, index):
        return [f"{self.epoch}-{index}"]


def session(choices=LOSSES):
    return Session(NETWORK, 0, (16, 16, 3), TRAINING["optimiser"], choices)


@pytest.fixture(scope="module")
def shared():
    return session()


def trained(session, folder, loss, training=TRAINING, batches=None, stop=lambda: False):
    trainer = Trainer(session, store.Run(folder), batches or Batches(), loss, training)
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


def test_the_state_of_dropout_is_part_of_the_checkpoint(shared, unbroken, tmp_path, monkeypatch):
    seen = iter(range(1, 100))
    with pytest.raises(Interrupted):
        trained(shared, tmp_path, LOSSES[1], stop=lambda: next(seen) == 7)
    real = Session.restore
    monkeypatch.setattr(Session, "restore", lambda self, path, seeds: real(self, path, [[0, 0] for _ in seeds]))
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
    decayed = Session({**NETWORK, "decay": 0.01}, 0, (16, 16, 3), TRAINING["optimiser"], LOSSES)
    losses, sizes = [], []
    for one in (shared, decayed):
        one.reset(LOSSES[0])
        losses += [one.step(images, labels, 0.003)[0]]
        for _ in range(5):
            one.step(images, labels, 0.003)
        sizes += [sum(float(np.square(layer.kernel).sum()) for layer in one.network.layers if "conv" in layer.name)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert sizes[1] < 0.99 * sizes[0]


def test_the_cosine_schedule_falls_from_the_first_rate_to_zero():
    rates = [learning_rate(TRAINING, step, 10) for step in range(11)]
    assert rates[0] == 0.003
    assert rates[5] == pytest.approx(0.0015)
    assert rates[10] == pytest.approx(0)
    assert rates == sorted(rates, reverse=True)
