"""All networks as rows of a table: parameters, hyperparameters of their own, stride, ONNX."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from trainable.config import Plugin, conditions_of, extended, make_config, plugins_of
from trainable.networks.registry import ARCHITECTURES, meta_network, network_of


def network_rows(plugins: Sequence[str | Path | Plugin] = ()) -> list[dict[str, Any]]:
    """Parameters are those at defaults, of two classes and RGB images with a scribble; None without its package."""
    rows: list[dict[str, Any]] = []
    model = extended(plugins_of(plugins))
    for name in [*ARCHITECTURES, *model.parts.networks]:
        config = make_config({"architecture": name}, model.plugins)
        network = network_of(config)
        installed = network.needs is None or find_spec(network.needs) is not None
        parameters = sum(parameter.numel() for parameter in meta_network(config).parameters()) if installed else None
        own = [field for field in model.model_fields if name in conditions_of(model, field).get("architecture", ())]
        rows.append(
            {
                "network": name,
                "million_parameters": None if parameters is None else round(parameters / 1e6, 2),
                "hyperparameters": ", ".join(own),
                "stride": network.stride(config),
                "onnx": "yes" if network.no_onnx is None else f"no, {network.no_onnx}",
            }
        )
    return rows
