"""Corpus to packed tokens to LoRA adapter, with the figures that show nothing was lost."""
