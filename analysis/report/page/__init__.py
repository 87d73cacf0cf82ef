"""The document around the sections: its HTML, style and scripts, and the data that they sort, filter and compare."""
