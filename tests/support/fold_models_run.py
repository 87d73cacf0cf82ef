"""The folder of a finished run with models of every fold that were never trained."""

from tiny_networks import tiny_network

from trainable.data.folds import save_folds
from trainable.networks.registry import build_network
from trainable.storage.checked_json import write_checked, write_checked_yaml
from trainable.training import checkpoint

SIZE = (64, 48)


def write_fold_models(folder, folds, scores=(("first", 0.5),), classes=("background", "foreground"), **values):
    """``scores`` has the mean score of every config; models differ between folds and configs."""
    folder.mkdir(parents=True)
    space = {"name": folder.name, "trainable": "fold", "metric": {"name": "miou"}}
    write_checked_yaml(folder / "space.yaml", space)
    save_folds(folds, folder / "folds.json")
    config = tiny_network(**{"architecture": "unet-plain", **values})
    for number, (name, score) in enumerate(scores):
        for fold in range(folds.count):
            network = build_network(config, [120.0] * 3, [60.0] * 3, 100 * number + fold, len(classes)).eval()
            here = folder / "configs" / name / f"fold_{fold}"
            here.mkdir(parents=True)
            state = {"config": config.model_dump(mode="json"), "size": list(SIZE), "weights": network.state_dict()}
            checkpoint.save(state | {"classes": list(classes)}, here / "best.pt")
            shifted = score + 0.01 * (fold - (folds.count - 1) / 2)
            write_checked(here / "scores.json", {"last": {"working": {"miou": shifted}}})
    return folder
