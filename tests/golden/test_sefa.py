"""SeFa's closed form equals what e4e's release finds on the same generator."""

import pytest

from bench.directions.finders.sefa import factorise, released_rows

pytestmark = pytest.mark.numeric


@pytest.fixture(scope="module")
def found(golden, generator_1024):
    return factorise(generator_1024.net if hasattr(generator_1024, "net") else generator_1024, [2, 3, 4, 5])


def test_eigenvalues(golden, found):
    expected = golden.expected("sefa", "eigenvalues_sorted")
    assert ((found[0][:16].to(expected) - expected).abs().max() / expected.max()).item() < golden.tolerance


def test_vectors_but_for_their_sign(golden, found):
    expected = golden.expected("sefa", "top5_vectors")
    cosines = (found[1][:5].to(expected) * expected).sum(1).abs()
    assert (1 - cosines).max().item() < golden.tolerance


def test_released_layers_read_one_row_and_move_the_one_before(golden):
    read, moved = released_rows([2, 3, 4, 5])
    assert [row - 1 for row in read] == golden.expected("sefa", "layers").tolist()  # counted as convs
    assert moved == golden.expected("sefa", "edited_rows").tolist()
