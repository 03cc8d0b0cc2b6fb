"""Run in an empty environment with Keras and one backend: the losses train a model, each at a head of its own."""

import keras
import numpy as np

import rareseg.losses
import rareseg.models

keras.utils.set_random_seed(0)
images = np.random.default_rng(0).random((8, 16, 16, 3), dtype="float32")
labels = (images[..., 0] > 0.8).astype("uint8")
losses = {name: rareseg.losses.get(name, from_logits=True) for name in rareseg.losses.names()}
truth = {name: rareseg.losses.signed_distance(labels, 2) if name == "boundary" else labels for name in losses}

body = rareseg.models.build({"name": "unet_demo", "filters": 2, "depth": 1, "output": "logits"}, (16, 16, 3), 2)
seen = keras.layers.Concatenate()([body.input, body.output])
heads = {name: keras.layers.Conv2D(2, 1, name=name)(seen) for name in losses}
model = keras.Model(body.input, heads)
model.compile(optimizer=keras.optimizers.Adam(0.01), loss=losses)
history = model.fit(images, truth, epochs=20, verbose=0).history
for name in losses:
    first, *_, last = history[f"{name}_loss"]
    print(f"{name}: {first:.4f} -> {last:.4f}")
    assert last < first, name
print("installed: losses and models work alone")
