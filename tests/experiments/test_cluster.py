"""The same table on a Ray cluster of two machines, one of which is lost."""

import contextlib
import io
import time

import pytest

TABLE = "table3/table_long.csv"


@pytest.mark.slow
def test_the_loss_of_a_machine_changes_nothing(finished, call, tiny, tmp_path):
    utils = pytest.importorskip("ray.cluster_utils", reason="needs uv sync --extra cluster")
    results = tmp_path / "results"
    with contextlib.redirect_stdout(io.StringIO()):
        cluster = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        second = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
    try:
        with call(*tiny, f"--ray={cluster.address}", results=results, background=True) as process:
            while len(list(results.glob("runs/*/history.csv"))) < 2:
                time.sleep(0.2)
                assert process.poll() is None
            cluster.remove_node(second, allow_graceful=False)
            printed, _ = process.communicate(timeout=300)
    finally:
        cluster.shutdown()
    assert process.returncode == 0, printed
    assert "2 of 2 runs are finished, 2 were due now" in printed
    assert (results / TABLE).read_bytes() == (finished[0] / TABLE).read_bytes()


def test_a_cluster_that_does_not_answer_is_one_sentence(call, tiny, tmp_path):
    pytest.importorskip("ray", reason="needs uv sync --extra cluster")
    refused = call(*tiny, "--ray=127.0.0.1:1", results=tmp_path / "results")
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
    assert "--ray 127.0.0.1:1: no cluster answers" in refused.stderr
    assert not (tmp_path / "results").exists()
