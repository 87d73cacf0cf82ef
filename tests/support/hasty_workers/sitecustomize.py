"""Python imports this when it starts: workers save and upload every half second instead of every minute or two.

A fold trial of seconds that loses its worker then resumes from a checkpoint, as one of hours does.
"""

import sys
from importlib.abc import MetaPathFinder
from importlib.util import find_spec

SECONDS = 0.5
MODULES = {
    "trainable.training.fold": lambda module: module.train_fold.__kwdefaults__.update(checkpoint_seconds=SECONDS),
    "trainable.pretraining.shared": lambda module: module.pretrained_encoder.__kwdefaults__.update(
        checkpoint_seconds=SECONDS
    ),
    "trainable.storage.node_folder": lambda module: setattr(module, "EVERY", SECONDS),
}


class Hasty(MetaPathFinder):
    """Changes these modules once they are imported."""

    def find_spec(self, name, path, target=None):
        if name not in MODULES:
            return None
        sys.meta_path.remove(self)
        try:
            spec = find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        execute = spec.loader.exec_module

        def execute_and_change(module):
            execute(module)
            MODULES[name](module)

        spec.loader.exec_module = execute_and_change
        return spec


sys.meta_path.insert(0, Hasty())
