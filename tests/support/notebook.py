"""Executes a notebook without Jupyter: its code cells in order, with the outputs that a kernel would show.

``python tests/support/notebook.py NOTEBOOK`` executes it in the current folder and stores the outputs in it.
"""

import ast
import base64
import contextlib
import io
import json
import sys
from pathlib import Path


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def execute(notebook, namespace):
    """Run all cells; the outputs of each code cell, in nbformat 4."""
    sources = ["".join(cell["source"]) for cell in code_cells(notebook)]
    return [_execute_cell(source, namespace, count) for count, source in enumerate(sources, 1)]


def store(path):
    notebook = json.loads(path.read_text())
    found = execute(notebook, {"__name__": "__main__"})
    for count, (cell, outputs) in enumerate(zip(code_cells(notebook), found, strict=True), 1):
        cell["execution_count"], cell["outputs"] = count, outputs
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


def _execute_cell(source, namespace, count):
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed, value = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, f"<cell {count}>", "exec"), namespace)
        if last is not None and not source.rstrip().endswith(";"):
            value = eval(compile(ast.Expression(last.value), f"<cell {count}>", "eval"), namespace)
    outputs = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": _lines(printed.getvalue())})
    if value is not None:
        shown = {"output_type": "execute_result", "execution_count": count, "metadata": {}, "data": _shown(value)}
        outputs.append(shown)
    return outputs


def _shown(value):
    """The forms of a value that a notebook can show; plotly draws its figures from JSON."""
    data = {"text/plain": _lines(f"<{type(value).__name__}>" if hasattr(value, "to_plotly_json") else repr(value))}
    if hasattr(value, "to_plotly_json"):
        data["application/vnd.plotly.v1+json"] = json.loads(value.to_json())
    elif hasattr(value, "_repr_png_"):
        data["image/png"] = base64.b64encode(value._repr_png_()).decode()
    elif hasattr(value, "_repr_html_"):
        data["text/html"] = _lines(value._repr_html_())
    return data


def _lines(text):
    return text.splitlines(keepends=True)


if __name__ == "__main__":
    sys.path.insert(0, "")
    store(Path(sys.argv[1]))
