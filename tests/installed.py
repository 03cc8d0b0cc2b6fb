"""Run in an empty environment with Keras and one backend: the losses train a model."""

import keras
import numpy as np

import rareseg.losses
import rareseg.models

images = np.random.default_rng(0).random((8, 16, 16, 3), dtype="float32")
labels = (images[..., 0] > 0.8).astype("uint8")
for name in rareseg.losses.names():
    model = rareseg.models.build({"name": "unet_demo", "filters": 2, "depth": 1, "output": "logits"}, (16, 16, 3), 2)
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss=rareseg.losses.get(name, from_logits=True))
    truth = rareseg.losses.signed_distance(labels, 2) if name == "boundary" else labels
    first = model.evaluate(images, truth, verbose=0)
    model.fit(images, truth, epochs=20, verbose=0)
    last = model.evaluate(images, truth, verbose=0)
    print(f"{name}: {first:.4f} -> {last:.4f}")
    assert last < first, name
print("installed: losses and models work alone")
