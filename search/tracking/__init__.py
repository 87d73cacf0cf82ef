"""Logs a run to TensorBoard, MLflow or W&B if the ``tracking`` key of its space names them."""
