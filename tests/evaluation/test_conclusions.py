"""Sentences about a table name test, number of cases, effect and p."""

import itertools

import numpy as np
import pandas as pd
import pytest

from rareseg.evaluation import across_blocks, within_blocks

LOSSES = ("dice", "combo", "adaptive_log")


def table(blocks=5, losses=LOSSES, metric="jaccard"):
    """Later losses are better by .01, blocks by .1."""
    cells = [(f"set{b}", loss, 0.1 * b + 0.01 * place) for b in range(blocks) for place, loss in enumerate(losses)]
    frame = pd.DataFrame(cells, columns=["dataset", "loss", "ours"]).assign(network="unet", metric=metric, cases=12)
    frame["rank"] = frame.groupby("dataset")["ours"].rank(ascending=False).astype("Int64")
    return frame.assign(low=frame["ours"] - 0.02, high=frame["ours"] + 0.02, **{"class": "foreground"})


def paired(p, improvement=0.75, losses=LOSSES):
    a, b = zip(*itertools.combinations(losses, 2), strict=True)
    frame = pd.DataFrame({"loss_a": a, "loss_b": b, "p_signed_rank_holm": p, "improvement": improvement})
    return frame.assign(block="set0/unet/jaccard/foreground")


SENTENCES = [
    pytest.param(
        0.2, "no difference beyond chance by the signed-rank test (p = 0.2 after Holm over 3 pairs)", id="none"
    ),
    pytest.param(0.049, ": a difference by the signed-rank test (p = 0.049 after", id="some"),
    pytest.param(3.2e-7, "(p < 1e-4 after", id="small"),
]


@pytest.mark.parametrize(("p", "part"), SENTENCES)
def test_the_best_is_compared_with_the_next(p, part):
    (sentence,) = within_blocks(table(1), paired(p), "jaccard", str.upper)
    start = (
        "SET0, UNET: over 12 cases ADAPTIVE_LOG has the best JACCARD, 0.0200 [0.0000, 0.0400], and COMBO the next, 0.01"
    )
    assert sentence.startswith(start)
    assert part in sentence
    assert sentence.endswith("the first is better than the second with probability 0.25.")  # loss_a is the second


@pytest.mark.parametrize(("first", "share"), [("dice", "0.25"), ("combo", "0.75")])
def test_of_distances_the_lower_is_better(first, share):
    frame = table(1, metric="hd95").assign(rank=[3 - (first == "dice") * 2, 1 + (first == "dice"), 3])
    frame = frame.assign(ours=frame["rank"].astype(float))
    tests = paired(0.01).assign(block="set0/unet/hd95/foreground")
    (sentence,) = within_blocks(frame, tests, "hd95")
    assert f" {first} has the best hd95, 1.0000" in sentence
    assert sentence.endswith(f"the first is better than the second with probability {share}.")


def test_blocks_without_two_values_and_tests_are_left_out_or_say_less():
    alone = table(1).assign(ours=[0.1, np.nan, np.nan])
    assert within_blocks(alone, paired(0.1), "jaccard") == []
    assert within_blocks(alone.assign(ours=np.nan), paired(0.1)[:0], "jaccard") == []
    (sentence,) = within_blocks(table(1), paired(0.1)[:0], "jaccard")
    assert sentence.endswith("and combo the next, 0.0100 [-0.0100, 0.0300].")
    assert within_blocks(table(1), paired(0.1), "recall") == []
    assert len(within_blocks(table(2, metric="f1"), paired(0.1), "dsc")) == 2


def test_classes_of_a_data_set_are_told_apart():
    both = pd.concat([table(1).assign(**{"class": name}) for name in ("kidney", "tumour")])
    kidney, tumour = within_blocks(both, paired(0.1), "jaccard", str.upper)
    assert kidney.startswith("SET0, UNET, KIDNEY: over 12 cases")
    assert tumour.startswith("SET0, UNET, TUMOUR: over 12 cases")


def test_friedman_over_complete_blocks():
    frame = pd.concat([table(5), table(6)[-3:].assign(ours=[0.1, np.nan, 0.2])])
    names, found, sentence = across_blocks(frame, "jaccard")
    assert names == list(LOSSES)
    assert found.blocks == 5
    assert found.mean_ranks.tolist() == [3, 2, 1]
    assert "Over 5 blocks, Friedman's test gives chi-square 10.00 (p = 0.0067)" in sentence
    assert "Davenport" not in sentence  # F is infinite where all blocks have the same order
    assert f"further apart than {found.critical_difference:.2f}" in sentence


def test_orders_that_differ_have_an_f():
    frame = table(5)
    frame.loc[0, "ours"] = 9
    _, found, sentence = across_blocks(frame, "jaccard")
    assert f"and Iman and Davenport's form F {found.f:.2f} (p = {found.f_p:.2g}); mean ranks" in sentence


def test_of_distances_the_lowest_takes_the_first_rank():
    _, found, _ = across_blocks(table(5, metric="hd95"), "hd95")
    assert found.mean_ranks.tolist() == [1, 2, 3]


@pytest.mark.parametrize(("blocks", "losses", "end"), [(4, LOSSES, "3 and 4."), (6, LOSSES[:2], "2 and 6.")])
def test_too_few_for_a_test_is_a_sentence(blocks, losses, end):
    _, found, sentence = across_blocks(table(blocks, losses), "jaccard")
    assert found is None
    assert sentence == f"Friedman's test over blocks needs 3 losses and 5 complete blocks; there are {end}"
