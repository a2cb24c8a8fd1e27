"""Operators: the reference against independent definitions, the fast ones against the reference, to second order."""

import numpy as np
import pytest
import scipy.signal
import torch
from torch.autograd import grad, gradgradcheck

from bench.errors import ShapeError
from bench.nets import ops

pytestmark = pytest.mark.numeric

F64 = torch.float64
SHAPES = [(1, 3, 2, 4), (3, 5, 7, 6), (2, 8, 4, 16)]  # B, I, O, side


def rand(*shape, seed=0):
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed + sum(shape)))


def asymmetric_kernel():
    """Distinguishes convolution from correlation and rows from columns."""
    return torch.outer(torch.tensor([1.0, 2.0, 4.0, 3.0]), torch.tensor([2.0, 1.0, 5.0, 1.0])).to(F64) / 20


@pytest.mark.parametrize(("up", "down", "pad"), [(1, 1, (0, 0)), (2, 1, (2, 1)), (1, 2, (1, 1)), (1, 1, (1, 1)),
                                                 (1, 1, (2, 2)), (2, 2, (0, 3)), (3, 2, (2, 0))])  # fmt: skip
def test_upfirdn2d_equals_scipy(up, down, pad):
    """Separable kernel, axis by axis, by scipy's upfirdn (which pads with as many zeros as it can use)."""
    rows, columns = torch.tensor([1.0, 2.0, 4.0, 3.0], dtype=F64), torch.tensor([2.0, 1.0, 5.0, 1.0], dtype=F64)
    x = rand(2, 3, 6, 6)
    y = ops.upfirdn2d_ref(x, torch.outer(rows, columns), up, down, pad)

    def axis(values, taps, dim):
        inserted = scipy.signal.upfirdn([1.0], values.numpy(), up=up, axis=dim)
        zeros = [(0, 0)] * 4
        zeros[dim] = (pad[0], pad[1] + up - 1)  # upfirdn drops the zeros after the last sample
        return torch.from_numpy(scipy.signal.convolve(np.pad(inserted, zeros), taps, mode="valid")).contiguous()

    expected = axis(axis(x, rows.view(1, 1, 4, 1).numpy(), 2), columns.view(1, 1, 1, 4).numpy(), 3)
    torch.testing.assert_close(y, expected[:, :, ::down, ::down], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("side", [5, 8])
@pytest.mark.parametrize(("stride", "pad"), [(1, 1), (1, 2), (2, 1), (2, 2)])
def test_depthwise_equals_definition(side, stride, pad):
    x, kernel = rand(2, 3, side, side).requires_grad_(), asymmetric_kernel()
    y = ops.depthwise_fast(x, kernel, pad, stride)
    expected = ops.upfirdn2d_ref(x, kernel, down=stride, pad=(pad, pad))
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
    cotangent = rand(*y.shape)
    torch.testing.assert_close(grad(y, x, cotangent), grad(expected, x, cotangent), rtol=1e-12, atol=1e-12)
    assert gradgradcheck(lambda t: ops.depthwise_fast(t, kernel, pad, stride) ** 2, x)


def test_upsample_equals_definition():
    x, kernel = rand(2, 3, 5, 4).requires_grad_(), asymmetric_kernel()
    y, expected = ops.upsample_fast(x, kernel), ops.upfirdn2d_ref(x, kernel, up=2, pad=(2, 1))
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
    cotangent = rand(*y.shape)
    torch.testing.assert_close(grad(y, x, cotangent), grad(expected, x, cotangent), rtol=1e-12, atol=1e-12)


def test_blur_keeps_a_constant():
    """Gain 1, or 4 after zero insertion: a flat picture stays flat away from the edges."""
    flat = torch.ones(1, 1, 8, 8)
    assert torch.allclose(ops.depthwise_fast(flat, ops.binomial_kernel(), 2)[..., 3:-3, 3:-3], torch.ones(3, 3))
    assert torch.allclose(ops.upsample_fast(flat, ops.binomial_kernel(4.0))[..., 2:-2, 2:-2], torch.ones(12, 12))


def test_demodulated_filters_have_unit_norm():
    weight, style = rand(5, 3, 3, 3), rand(4, 3)
    filters = weight[None] * style[:, None, :, None, None] * ops.demodulation(weight, style)[:, :, None, None, None]
    assert torch.allclose(filters.square().sum((2, 3, 4)), torch.ones(4, 5, dtype=F64), atol=1e-6)


def test_modulated_convolution_image_by_image():
    """The grouped reference against a plain loop over the definition."""
    x, weight, style = rand(3, 4, 6, 6), rand(5, 4, 3, 3), rand(3, 4)
    y = ops.modulated_conv2d_ref(x, weight, style)
    for n in range(3):
        filters = weight * style[n][None, :, None, None]
        filters = filters / (filters.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        expected = torch.nn.functional.conv2d(x[n : n + 1], filters, padding=1)
        torch.testing.assert_close(y[n : n + 1], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shared_noise", [True, False])
@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_styled_conv_fast_equals_reference(shape, up, shared_noise):
    """Value, gradient and gradient of the gradient by every input."""
    b, i, o, side = shape
    blur = asymmetric_kernel() if up else None
    out = 2 * side if up else side
    inputs = [
        rand(b, i, side, side),
        rand(o, i, 3, 3),
        rand(b, i),
        rand(1 if shared_noise else b, 1, out, out),
        rand(o),
    ]
    cotangent, direction = rand(b, o, out, out), rand(b, i)
    results = []
    for styled in (ops.styled_conv_fast, ops.styled_conv_ref):
        leaves = [t.clone().requires_grad_() for t in inputs]
        y = styled(*leaves, blur)
        first = grad((y * y * cotangent).sum(), leaves, create_graph=True)
        second = grad((first[2] * direction).sum(), leaves, materialize_grads=True)
        results.append([y, *first, *second])
    for fast, ref in zip(*results, strict=True):
        torch.testing.assert_close(fast, ref, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
def test_to_rgb_fast_equals_reference(shape):
    b, i, _, side = shape
    inputs = [rand(b, i, side, side), rand(3, i, 1, 1), rand(b, i), rand(1, 3, 1, 1)]
    results = []
    for to_rgb in (ops.to_rgb_fast, ops.to_rgb_ref):
        leaves = [t.clone().requires_grad_() for t in inputs]
        y = to_rgb(*leaves)
        results.append([y, *grad(y.square().sum(), leaves)])
    for fast, ref in zip(*results, strict=True):
        torch.testing.assert_close(fast, ref, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("k", "pad"), [(3, 2), (1, 1)])
def test_down_conv_fast_equals_reference(k, pad):
    inputs = [rand(2, 3, 8, 8), rand(4, 3, k, k)]
    results = []
    for down in (ops.down_conv_fast, ops.down_conv_ref):
        leaves = [t.clone().requires_grad_() for t in inputs]
        y = down(*leaves, asymmetric_kernel(), pad)
        results.append([y, *grad(y.square().sum(), leaves)])
    assert results[0][0].shape == (2, 4, 4, 4)
    for fast, ref in zip(*results, strict=True):
        torch.testing.assert_close(fast, ref, rtol=1e-10, atol=1e-10)


def test_wrong_style_is_refused():
    for styled in (ops.styled_conv_fast, ops.styled_conv_ref):
        with pytest.raises(ShapeError, match="style"):
            styled(rand(2, 3, 4, 4), rand(5, 3, 3, 3), rand(1, 3), rand(1, 1, 4, 4), rand(5))
