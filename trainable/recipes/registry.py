"""Recipes by name."""

from trainable.config import Config
from trainable.errors import UserError
from trainable.networks.registry import network_of
from trainable.networks.scribble_network import ScribbleNetwork
from trainable.recipes.cutmix import Cutmix
from trainable.recipes.cyclemix import Cyclemix
from trainable.recipes.dual_branch import DualBranch
from trainable.recipes.mean_teacher import MeanTeacher
from trainable.recipes.mixup import Mixup
from trainable.recipes.recipe import Autocast, Objective, Recipe
from trainable.recipes.supervised import Supervised

# A new recipe is a file here, its entry in this table and its name in Config.recipe.
RECIPES: dict[str, type[Recipe]] = {
    "supervised": Supervised,
    "mixup": Mixup,
    "cutmix": Cutmix,
    "mean_teacher": MeanTeacher,
    "dual_branch": DualBranch,
    "cyclemix": Cyclemix,
}


def build_recipe(config: Config, network: ScribbleNetwork, objective: Objective, autocast: Autocast) -> Recipe:
    """The recipe of a config around a network that is on its device already."""
    if config.recipe != "supervised" and network_of(config).loss is not None:
        raise UserError(
            f"recipe = {config.recipe}: needs logits, but architecture = {config.architecture} has a loss of its own; "
            "use recipe=supervised"
        )
    kind: type[Recipe] = config.parts.recipes.get(config.recipe) or RECIPES[config.recipe]
    return kind(network, config, objective, autocast)
