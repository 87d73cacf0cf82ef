"""``python -m trainable parameters``, ``networks`` and ``trust``: what a config may hold, and what plugins add."""

from typing import Annotated

import typer

from trainable.commands.options import Output, PluginFiles
from trainable.errors import UserError
from trainable.printing import Format, say


def parameters(
    methods: Annotated[
        bool, typer.Option("--methods", help="List those of methods on single images (trainable: image) instead.")
    ] = False,
    plugins: PluginFiles = None,
    output: Output = Format.table,
) -> None:
    """List every hyperparameter with its default and allowed values.

    Example: python -m trainable parameters --format json
    """
    from trainable.config import ImageConfig, describe, extended, plugins_of
    from trainable.printing import print_rows

    if methods and plugins:
        raise UserError("--plugin: adds to networks, not to methods on single images")
    print_rows(describe(ImageConfig if methods else extended(plugins_of(plugins or []))), output)


def networks(plugins: PluginFiles = None, output: Output = Format.table) -> None:
    """List every network.

    Shows millions of parameters at defaults, own hyperparameters, stride, and whether it exports to ONNX. Images
    whose sides are no multiples of the stride are padded by reflection, and the prediction is cropped back.

    Example: python -m trainable networks --format csv
    """
    from trainable.networks.listing import network_rows
    from trainable.printing import print_rows

    print_rows(network_rows(plugins or []), output)


def trust(
    plugins: Annotated[list[str], typer.Argument(metavar="FILE...", help="Plugins: Python files.")],
    output: Output = Format.table,
) -> None:
    """Allow plugins to run on this machine, and list what they add.

    Runs and models from elsewhere need this. A plugin is code that can do whatever you can: read it first. Naming it in
    your own space or with --plugin allows it as well. A file that has changed is another plugin.

    Example: python -m trainable trust runs/first/my_parts.py
    """
    from trainable.config import extended, plugins_of
    from trainable.config.plugins.listing import plugin_rows
    from trainable.printing import plural, print_rows

    named = plugins_of(plugins)
    extended(named)
    print_rows(plugin_rows(named), output)
    say(f"{plural(len(named), 'plugin')} may be executed on this machine: {', '.join(map(str, named))}")
