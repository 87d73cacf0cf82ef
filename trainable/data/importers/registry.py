"""The formats by name."""

from trainable.data.importers import acdc_h5, nifti, voc
from trainable.data.importers.source import Importer
from trainable.errors import UserError, did_you_mean

IMPORTERS = {acdc_h5.NAME: acdc_h5.IMPORTER, nifti.NAME: nifti.IMPORTER, "voc": voc.IMPORTER}


def importer_named(name: str) -> Importer:
    """The importer of a format; an unknown name is an error that lists the formats."""
    if name not in IMPORTERS:
        known = ", ".join(IMPORTERS)
        raise UserError(f"unknown format {name!r}: the formats are {known}.{did_you_mean(name, IMPORTERS)}")
    return IMPORTERS[name]
