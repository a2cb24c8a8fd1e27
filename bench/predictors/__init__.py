"""Networks that read an image, found by name: attribute predictors and landmark detectors."""
