"""hfgi-bench: measure, reproduce and extend GAN inversion. Importing this package imports no torch."""

__version__ = "0.1.0"
