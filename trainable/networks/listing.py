"""All networks as rows of a table: parameters, hyperparameters of their own, stride, ONNX."""

from importlib.util import find_spec
from typing import Any

from trainable.config import Config, conditions_of, make_config
from trainable.networks.registry import ARCHITECTURES, meta_network


def network_rows() -> list[dict[str, Any]]:
    """Parameters are those at defaults, of two classes and RGB images with a scribble; None without its package."""
    rows: list[dict[str, Any]] = []
    for name, network in ARCHITECTURES.items():
        config = make_config({"architecture": name})
        installed = network.needs is None or find_spec(network.needs) is not None
        parameters = sum(parameter.numel() for parameter in meta_network(config).parameters()) if installed else None
        own = [field for field in Config.model_fields if name in conditions_of(Config, field).get("architecture", ())]
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
