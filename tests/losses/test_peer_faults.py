"""What other libraries were measured to get wrong, and where it is tested here.

 1. Tversky punishes what it is told to       test_peer_faults.py test_alpha_is_the_price_of_false_positives
 2. one channel learns from an empty mask     test_peer_faults.py test_an_empty_mask_teaches_to_find_nothing
 3. powers below 1 at a perfect prediction    test_peer_faults.py test_roots_of_nothing_have_finite_slopes
 4. confident errors keep their gradient      test_numerics.py test_confident_errors_keep_their_gradient
 5. more than 65504 pixels in float16         test_numerics.py test_a_volume_in_single_and_half_precision
 6. saturated float16 logits                  test_numerics.py test_half_precision_is_counted_in_single
 7. a batch is the mean of its samples        test_contract.py test_samples_do_not_see_each_other
 8. 3D, and any order of the axes             test_contract.py test_the_order_of_the_axes_does_not_matter
 9. a third class counts                      test_contract.py test_every_class_counts
                                              test_contract.py test_foreground_classes_count_alike
10. combo weighs foreground, never rewards it test_relations.py test_the_dearer_error
                                              test_relations.py test_combo_never_rewards_foreground_in_an_empty_image
11. generalised Dice of large organs          test_peer_faults.py test_generalised_dice_of_a_large_organ
12. distances inside are never positive       test_distance.py test_distances_are_never_positive_inside
13. integer labels                            test_contract.py test_the_type_of_the_labels_does_not_matter
14. saved models are reloaded                 test_interface.py test_a_compiled_model_is_reloaded
15. sample weights act per sample             test_contract.py test_sample_weights_act_per_sample
16. sums over 160^3 pixels in float32         test_numerics.py test_a_large_volume_in_single_precision
17. logits and probabilities agree            test_contract.py test_logits_and_probabilities_agree
"""

import re
from pathlib import Path

import numpy as np
import pytest

from rareseg import losses

SIGNATURES = losses.signatures()


def test_each_fault_has_a_test():
    numbers = [int(number) for number in re.findall(r"^ ?(\d+)\.", __doc__, re.MULTILINE)]
    assert numbers == list(range(1, 18))
    for file, test in re.findall(r"(test_\w+\.py) (test_\w+)$", __doc__, re.MULTILINE):
        assert f"def {test}" in (Path(__file__).parent / file).read_text(), test


def test_alpha_is_the_price_of_false_positives(logits_of, values):
    label = np.zeros((1, 20, 20), int)
    label[0, :5] = 1
    invented, missed = label.copy(), label.copy()
    invented[0, 5] = 1
    missed[0, 4] = 0
    for alpha, beta in [(1, 0), (0, 1)]:
        for found, price in [(invented, alpha), (missed, beta)]:
            tp = min(found.sum(), label.sum())
            arguments = {"alpha": alpha, "beta": beta, "include_background": False}
            cost = values("tversky", label, logits_of(found, 2, 60), **arguments)
            np.testing.assert_allclose(cost, 20 * price / (tp + 20 * price), rtol=1e-6)


@pytest.mark.parametrize("name", [name for name in SIGNATURES if "smooth" in SIGNATURES[name]])
def test_an_empty_mask_teaches_to_find_nothing(name, differentiate):
    alone = {"include_background": False} if "include_background" in SIGNATURES[name] else {}
    if name == "generalised_dice":
        alone = {}  # it has no weight for a class if none that counts is present
    loss = losses.get(name, from_logits=True, smooth=1, reduction=None, **alone)
    label = np.zeros((1, 8, 8), int)
    for logit in (-6, -2, 2):
        _, gradient = differentiate(loss, label, np.full((1, 8, 8, 1), logit, "float32"))
        assert (gradient > 0).all()
    nothing, _ = differentiate(loss, label, np.full((1, 8, 8, 1), -200, "float32"))
    np.testing.assert_allclose(nothing, 0, atol=1e-7)


EXPONENTS = {name: [argument for argument in SIGNATURES[name] if "gamma" in argument] for name in SIGNATURES}


@pytest.mark.parametrize("name", [name for name in SIGNATURES if EXPONENTS[name]])
@pytest.mark.parametrize("exponent", [0.05, 0.5, 0.95])
def test_roots_of_nothing_have_finite_slopes(name, exponent, draw, logits_of, differentiate):
    exact = {"smooth": 0} if "smooth" in SIGNATURES[name] else {}
    loss = losses.get(name, from_logits=True, reduction=None, **exact, **dict.fromkeys(EXPONENTS[name], exponent))
    for channels in (1, 2, 3):
        label, _ = draw(channels)
        truth = np.concatenate([label, np.zeros_like(label)])
        logits = np.concatenate([logits_of(truth, channels, size) for size in (10, 60, 1e4)])
        values, gradient = differentiate(loss, np.tile(truth, (3, 1, 1)), logits, form="eager")
        assert np.isfinite(values).all(), channels
        assert np.isfinite(gradient).all(), channels


def test_generalised_dice_of_a_large_organ(logits_of, values):
    label = np.zeros((1, 160, 160, 160), "uint8")
    label[:, 80:] = 1
    assert values("generalised_dice", label, logits_of(1 - label, 2, 60)) >= 0.99
    assert values("generalised_dice", label, logits_of(label, 2, 60)) <= 1e-6
