"""One file per policy, the contract they all fulfil and the registry that names them."""
