"""The grid's layout with few and with many methods, in whole pixels."""

import numpy as np
import pytest

from bench.report.grid import ACROSS, WIDTH, Layout, _draw


@pytest.mark.parametrize("resolution", [32, 128, 1024])
@pytest.mark.parametrize("methods", [1, 2, 3, 6, 9, 14])
@pytest.mark.parametrize("images", [1, 5, 8])
def test_cells_are_inside_and_apart(images, methods, resolution):
    """No two pictures overlap, nothing leaves the figure, and no block's place is empty."""
    layout = Layout(images, methods + 1, resolution)
    assert images % layout.across == 0 and layout.cell % resolution == 0
    places = [layout.place(n, c, b) for n in range(images) for c in range(methods + 1) for b in (False, True)]
    assert len(set(places)) == len(places)
    width, height = layout.size
    assert all(0 < x and x + layout.cell < width and 0 < y and y + layout.cell < height for x, y in places)
    boxes = np.array(places)
    apart = np.abs(boxes[:, None] - boxes[None]).max(-1) + 10**6 * np.eye(len(boxes))
    assert apart.min() > layout.cell
    if layout.factor > 1:
        assert layout.across * (methods + 1) * layout.cell <= WIDTH


def test_few_methods_stand_side_by_side_many_do_not():
    assert [Layout(8, columns, 128).across for columns in (2, 3, 4, 7, 10)] == [4, 2, 2, 1, 1]
    assert all(Layout(8, c, 128).across * c <= max(c, ACROSS) for c in range(2, 16))


@pytest.mark.parametrize("count", [3, 9])
def test_pictures_are_where_the_layout_says(count):
    """Each source's own pixels, and maps of another colour where a method differs."""
    import matplotlib.pyplot as plt

    rng = np.random.default_rng(0)
    ids, labels = ["a", "b"], [f"m{k}" for k in range(count)]
    sources = [rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in ids]
    found = {(i, m): s for i, s in zip(ids, sources, strict=True) for m in labels}
    maps = {key: np.zeros((32, 32)) for key in found}
    maps["b", labels[-1]] = np.ones((32, 32))
    figure = _draw(ids, sources, labels, found, maps, ["Source", *labels])
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)
    plt.close(figure)
    layout = Layout(2, count + 1, 32)
    assert pixels.shape[:2] == layout.size[::-1]
    middle = layout.cell // 2
    heat = {}
    for image_id in range(2):
        for column in range(1, count + 1):
            x, y = layout.place(image_id, column, below=True)
            heat[image_id, column] = pixels[y + middle, x + middle].sum()
            x, y = layout.place(image_id, column)
            left, top = layout.place(image_id, 0)
            inner = slice(4, layout.cell - 4)
            method, source = (pixels[b:, a:][inner, inner] for a, b in ((x, y), (left, top)))
            assert np.abs(method - source).mean() < 3, "equal pictures look equal"
    assert heat[1, count] > 500 and all(v < 20 for k, v in heat.items() if k != (1, count))
