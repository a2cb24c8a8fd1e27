"""Rendered human heads with exact ground truth: the suite's embedded domain.

``scene.sample_scene`` draws a picture as data, ``scene.edit_scene`` moves one factor of it, ``render.Renderer`` makes
pixels, part labels, landmarks and factors. anny is imported only here, the first time the head's arrays are needed.
"""
