"""Test of a sweep on a Ray cluster; ``make test-ray`` installs Ray and runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT

pytest.importorskip("ray", reason="Ray is not installed: make test-ray")
from ray.cluster_utils import Cluster


def test_a_sweep_runs_on_several_nodes(archive: Path, tmp_path: Path) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        for _ in range(2):  # each node has a core for one run
            cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        swept = [sys.executable, "-m", "asim_cvae.train", "-m", "hydra/launcher=ray_cluster", "seed=0,1",
                 f"hydra.sweep.dir={tmp_path}", f"data.root={archive}", "data.simulation=null",
                 f"data.store={tmp_path / 'frames'}", "data.batch_size=10", "trainer.max_epochs=1"]  # fmt: skip
        done = subprocess.run(
            swept,
            cwd=PROJECT,
            env={**os.environ, "RAY_ADDRESS": cluster.address},
            capture_output=True,
            text=True,
            timeout=600,
        )
    finally:
        cluster.shutdown()
    assert done.returncode == 0, done.stdout + done.stderr
    scores = sorted(tmp_path.rglob("scores.json"))
    assert sorted(json.loads(path.read_text())["seed"] for path in scores) == [0, 1]
    begun, ended = zip(*(_times(path.with_name("train.log")) for path in scores), strict=True)
    assert max(begun) < min(ended)  # the runs overlap, so they were on different nodes


def _times(log: Path) -> tuple[str, str]:
    stamps = [line[1:24] for line in log.read_text().splitlines() if line.startswith("[20")]
    return stamps[0], stamps[-1]
