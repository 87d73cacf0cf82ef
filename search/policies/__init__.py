"""One file per policy; ``search.schedulers`` names them."""
