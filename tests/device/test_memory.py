"""A full accelerator: a batch that does not fit is halved; where one picture does not fit, one line says so."""

import numpy as np
import pytest

from bench.inversion.runner import Inverted, invert_isolated

LEVELS = 1  # of 8 bits: float32 sums in another order may turn a rounding


def test_a_batch_too_large_for_the_memory_is_halved(ready, pictures, accelerator, limited):
    """And the pictures are those of a roomy device."""
    x, made = pictures[0].to(accelerator).repeat(16, 1, 1, 1), ready("hfgi", accelerator)
    ids, seeds = [str(n) for n in range(len(x))], [0] * len(x)
    roomy, tight, sizes = Inverted(), Inverted(), []
    one = limited.peak(lambda: invert_isolated(made, ids[:1], x[:1], seeds[:1], "fp32", Inverted()))
    whole = limited.peak(lambda: invert_isolated(made, ids, x, seeds, "fp32", roomy))
    embed = made.embed
    made.embed = lambda pictures: (sizes.append(len(pictures)), embed(pictures))[1]
    with limited.to((one + whole) // 2):
        invert_isolated(made, ids, x, seeds, "fp32", tight)
    assert sizes[:2] == [128, 64] and not tight.failures and list(tight.images) == ids
    assert max(np.abs(tight.images[i].astype(int) - roomy.images[i]).max() for i in ids) <= LEVELS


@pytest.mark.parametrize("verb", ["run", "edit", "time"])
def test_no_memory_is_told_in_one_line(command, drawn, accelerator, limited, verb):
    more = {
        "run": ["--dataset", drawn.dataset, "--variant", "tight", "--overwrite"],
        "edit": ["--direction", "smile", "--degree", 1, "--images", drawn.root / "pictures", "--domain", drawn.domain],
        "time": ["--dataset", drawn.dataset],
    }
    with limited.to(1 << 20):
        code, err = command(verb, "--method", "e4e", "--device", accelerator, *more[verb])
    lines = [line for line in err.splitlines() if line]
    assert code == 2 and "Traceback" not in err and "too little memory" in lines[-1] and "--device cpu" in lines[-1]
