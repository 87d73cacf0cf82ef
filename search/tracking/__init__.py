"""A run as TensorBoard, MLflow and W&B are told of it, where a space's ``tracking`` asks for them."""
