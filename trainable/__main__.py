"""``python -m trainable``: check a data set, make or import one, list what a config may hold, train one fold."""

import typer

from trainable.commands.config_parts import networks, parameters, trust
from trainable.commands.data_sets import doctor, show, synthesize
from trainable.commands.fit import fit
from trainable.commands.import_data import import_data
from trainable.exit_codes import Completion, Version, run

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback()
def trainable(version: Version = False, completion: Completion = False) -> None:
    """Check a data set, make or import one, preview its augmentation, train one fold of one config."""


# In the order of --help.
app.command()(doctor)
app.command()(synthesize)
app.command("import")(import_data)
app.command()(show)
app.command()(parameters)
app.command()(networks)
app.command()(trust)
app.command()(fit)

if __name__ == "__main__":
    run(app)
