"""Facts to specs to documents to a corpus folder."""
