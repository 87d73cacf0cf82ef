"""The README of an exported folder: the commands, step by step, and their expected results."""

from collections.abc import Mapping
from typing import Any

from analysis.refinement.chain import read_chain, words
from spaces.space import Space
from trainable.printing import digits

TEXT = """# Config {config} of the run {run}

Everything needed to train this config again, and the ensemble of its {folds} fold models.

| file | contains |
|---|---|
| `space.yaml`, `config.json` | the config with every hyperparameter |
| `folds.json` | which image was held out in which fold |
| `env.json`, `requirements.txt` | versions, git commit and code hashes of the run; exact package versions |
| `selection.json` | the comparison of the run's configs |
| `ensemble.pt`, `ensemble.json` | the averaged models, and their manifest |
{plugin_rows}{refinement_row}{onnx_row}| `export.json`, `SHA256SUMS` | hashes of data and folds, and of these files |

## Train it again

```
sha256sum -c SHA256SUMS                                  # the files are intact
git clone <scribble-search> code && cd code && git checkout {commit}
python{python} -m venv .venv && . .venv/bin/activate     # Python {full_python}
pip install -r ../requirements.txt && pip install --no-deps -e .
python -m trainable doctor DATA --format json            # "hash" must be {data_hash}
{weights}{plugins}python -m spaces check ../space.yaml --set data=DATA
python -m search launch ../space.yaml --set data=DATA
cmp runs/{name}/folds.json ../folds.json                 # the same folds
python -m analysis best {name}
```

The commands assume that this folder contains `code`; DATA is the folder of the data set (in this run: `{data}`).
{metric} at full length, by fold (working size, last weights):

| fold | {metric} |
|---|---|
{scores}
| mean | {mean} |

{basis}On a CPU with the same versions the scores are bit-identical; on GPUs they differ by rounding.

## Predict with it

```
python -m analysis predict .. IMAGES {scribbles}--out masks
{onnx_command}```
{refinement}"""
ONNX_ROW = """| `ensemble.onnx`, `predict_onnx.py` | as ONNX: bytes (batch, height, width, {image} and scribble) in, \
{out} out, at most {difference:.1e} from torch; a script that uses it |
"""
PLUGIN_ROW = "| `{name}` | a plugin of the run: networks, losses or recipes that the models need |\n"
PLUGINS_COMMAND = "python -m trainable trust {names}    # they are code: read them first\n"
REFINEMENT_ROW = "| `refinement.json` | the post-processing of masks, and how it was chosen |\n"
REFINEMENT = """
`python -m analysis predict` refines the masks by {words}; `--no-refine` leaves it out.
"""
ONNX_UNREFINED = """
None of these steps is inside `ensemble.onnx`, which returns the probabilities before them; the masks of
`predict_onnx.py` are not refined.
"""
ONNX_COMMAND = "python ../predict_onnx.py IMAGE {scribble}MASK.png    # needs numpy, pillow and onnxruntime only\n"


def readme(
    facts: Mapping[str, Any],
    space: Space,
    scores: Mapping[int, float],
    metric: str,
    manifest: Mapping[str, Any],
    basis: str,
) -> str:
    """``manifest`` is that of the ensemble, ``basis`` a sentence about what the scores are of."""
    onnx = "onnx_difference" in facts
    sees_scribbles = space.constants.get("inputs") != "image"
    classes, plugins = manifest.get("classes", ()), sorted(manifest.get("plugins", ()))
    shape = {
        "image": "grey" if manifest.get("channels") == 1 else "RGB",
        "out": f"probability of each of {len(classes)} classes" if len(classes) > 2 else "probability",
    }
    return TEXT.format(
        config=facts["config"],
        run=facts["run"],
        folds=space.settings.folds,
        commit=facts["commit"] or "COMMIT   # unknown; env.json has hashes of the code",
        python=".".join(facts["python"].split(".")[:2]),
        full_python=facts["python"],
        data_hash=facts["data_hash"],
        name=space.settings.name,
        data=space.settings.data,
        metric=metric,
        scores="\n".join(f"| {fold} | {digits(score)} |" for fold, score in sorted(scores.items())),
        mean=digits(sum(scores.values()) / len(scores)),
        onnx_row=ONNX_ROW.format(difference=facts["onnx_difference"], **shape) if onnx else "",
        onnx_command=ONNX_COMMAND.format(scribble="SCRIBBLE " if sees_scribbles else "") if onnx else "",
        scribbles="--scribbles SCRIBBLES " if sees_scribbles else "",
        basis=f"{basis} " if basis else "",
        refinement_row=REFINEMENT_ROW if "refinement" in facts else "",
        refinement=_refinement(facts),
        plugin_rows="".join(PLUGIN_ROW.format(name=name) for name in plugins),
        plugins=PLUGINS_COMMAND.format(names=" ".join(f"../{name}" for name in plugins)) if plugins else "",
        weights="".join(
            f"# the encoder starts from {name}, whose SHA-256 must be {content}\n"
            for name, content in facts.get("encoder_weights", {}).items()
        ),
    )


def _refinement(facts: Mapping[str, Any]) -> str:
    """What happens to masks after the networks, and where it does not."""
    if "refinement" not in facts:
        return ""
    text = REFINEMENT.format(words=words(read_chain(facts["refinement"], "export.json")))
    return text + (ONNX_UNREFINED if "onnx_refinement" in facts else "")
