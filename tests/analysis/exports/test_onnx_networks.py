"""The contract of networks, continued: each is exported to ONNX and gives torch's probabilities, or says why not.

The exports of whole runs are tested with the U-Net.
"""

from dataclasses import replace

import pytest
from tiny_networks import tiny_network

from analysis.ensembles.ensemble import Ensemble, Member
from analysis.exports.export import export
from analysis.exports.onnx_export import TOLERANCE, export_onnx, need_onnx
from search.runs.run_tables import read_run
from trainable.errors import UserError
from trainable.networks.registry import ARCHITECTURES, build_network

SIZE = (50, 38)  # the working size, no multiple of a stride


@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name != "unet"])
def test_a_network_is_exported_or_says_why_not(architecture, tmp_path):
    config = tiny_network(architecture)
    if (reason := ARCHITECTURES[architecture].no_onnx) is not None:
        with pytest.raises(UserError, match=reason):
            need_onnx(config)
        return
    weights = build_network(config, [100.0], [50.0], seed=0).state_dict()
    state = {"config": config.model_dump(mode="json"), "weights": weights}
    ensemble = Ensemble([Member(config.id, 0, SIZE, state)], 0.5, "none")
    assert export_onnx(ensemble, tmp_path / "network.onnx") <= TOLERANCE
    assert [path.name for path in tmp_path.iterdir()] == ["network.onnx"], "the weights are in the file"
    assert (tmp_path / "network.onnx").stat().st_size > 1_000


def test_a_network_without_an_export_is_refused_before_anything_is_written(small_run, tmp_path, monkeypatch):
    unet = replace(ARCHITECTURES["unet"], no_onnx="because its boxes are many or few")
    monkeypatch.setitem(ARCHITECTURES, "unet", unet)
    with pytest.raises(UserError, match=r"^architecture = unet: has no ONNX export, because its boxes .*; --no-onnx"):
        export(read_run(small_run), None, tmp_path / "out", onnx=True)
    assert not (tmp_path / "out").exists()
