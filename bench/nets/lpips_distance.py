"""LPIPS through the package ``lpips``: its forward pass and heads, on trunks whose weights were verified first.

The package would download trunks by itself and check nothing, and it builds the whole classification network to throw
most of it away. Here a trunk is made without values and filled with verified ones. Metrics and training share it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.errors import BenchError, UnknownName, WeightsError
from bench.files import file_sha256

HEADS_SHA256 = {  # lpips 0.1.4, weights/v0.1
    "alex": "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
    "squeeze": "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",
    "vgg": "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
}
TRUNKS = {
    "alex": ("alexnet", (64, 192, 384, 256, 256)),
    "squeeze": ("squeezenet", (64, 128, 256, 384, 384, 512, 512)),
    "vgg": ("vgg16", (64, 128, 256, 512, 512)),
}
LOSSES = {f"lpips_{net}": net for net in TRUNKS}  # id of a trunk's weights -> trunk
TINY = 1e-16


def lpips_on(trunk: nn.Module, channels: Sequence[int], heads: Mapping[str, Tensor] | None = None) -> nn.Module:
    """The package's LPIPS (version 0.1) on any trunk, frozen, in evaluation mode.

    Args:
        trunk: (B, 3, H, W), normalised to ImageNet's statistics -> a feature map (B, C, h, w) for each of ``channels``.
        heads: ``lin<i>.model.1.weight`` (1, C, 1, 1); None sums squared differences over channels instead.
    Returns:
        a module: two batches (B, 3, H, W) float32 in [-1, 1] -> (B, 1, 1, 1).
    """
    import lpips

    class OnTrunk(lpips.LPIPS):
        def __init__(self) -> None:
            nn.Module.__init__(self)  # the package's own builds and downloads a trunk
            self.net, self.chns, self.L = trunk, list(channels), len(channels)
            self.scaling_layer, self.version, self.spatial = lpips.ScalingLayer(), "0.1", False
            self.lpips = heads is not None
            if heads is not None:
                self.lins = nn.ModuleList(lpips.NetLinLayer(c, use_dropout=True) for c in channels)
                for n, lin in enumerate(self.lins):
                    lin.load_state_dict({"model.1.weight": heads[f"lin{n}.model.1.weight"]})

    return OnTrunk().eval().requires_grad_(False)


def heads_of(net: str) -> dict[str, Tensor]:
    """The learned heads in the installed package, checked by SHA-256.

    Raises:
        WeightsError: the file is not the one published as v0.1.
    """
    import lpips

    path = Path(lpips.__file__).parent / "weights" / "v0.1" / f"{net}.pth"
    digest = file_sha256(path)
    if digest != HEADS_SHA256[net]:
        raise WeightsError(
            f"heads {path.name} of package lpips are not the published ones",
            got=f"sha256 {digest}",
            expected=HEADS_SHA256[net],
            fix="pip install --force-reinstall lpips==0.1.4",
        )
    return torch.load(path, map_location="cpu", weights_only=True)


def empty_trunk(net: str) -> nn.Module:
    """The package's trunk on the meta device, without its classifier."""
    import lpips.pretrained_networks as networks

    make = getattr(networks, TRUNKS[net][0])
    with warnings.catch_warnings(), torch.device("meta"):  # no values: it builds the classifier too
        warnings.filterwarnings("ignore", message=".*(pretrained|Arguments other than a weight enum)")
        return make(pretrained=False, requires_grad=False)


def fill_trunk(trunk: nn.Module, features: Mapping[str, Tensor]) -> nn.Module:
    """Put ``features.<i>.<name>`` where the package keeps it: ``slice<k>.<i>.<name>``; strict in both directions."""
    names = {key.split(".", 1)[1]: key for key in trunk.state_dict()}
    trunk.load_state_dict(
        {names.get(key.removeprefix("features."), key): value for key, value in features.items()},
        strict=True,
        assign=True,
    )
    return trunk.requires_grad_(False)


class _NeverZero(nn.Module):
    """A trunk whose maps have no position without any feature: there the length that LPIPS divides by has no gradient.

    What is put there is too small to move the distance, and no gradient passes it on.
    """

    def __init__(self, trunk: nn.Module):
        super().__init__()
        self.trunk = trunk

    def forward(self, x: Tensor) -> list[Tensor]:
        return [m + TINY * (m.detach() == 0).all(1, keepdim=True) for m in self.trunk(x)]


def lpips_loss(weights_id: str, load: Callable[[str], Mapping[str, Tensor]]) -> nn.Module:
    """LPIPS v0.1 as a loss: two batches (B, 3, H, W) in [-1, 1] -> (B, 1, 1, 1), with a finite gradient everywhere.

    Args:
        weights_id: of a trunk's weights, ``lpips_alex``, ``lpips_vgg`` or ``lpips_squeeze``. load: id -> its tensors.
    Raises:
        UnknownName: another id. BenchError: the package is not installed. WeightsError: weights that are not here.
    """
    if weights_id not in LOSSES:
        raise UnknownName.of("perceptual loss", weights_id, LOSSES)
    if find_spec("lpips") is None or find_spec("torchvision") is None:
        raise BenchError(f"perceptual loss {weights_id!r} needs lpips", fix="pip install 'hfgi-bench[perceptual]'")
    net = LOSSES[weights_id]
    trunk = fill_trunk(empty_trunk(net), load(weights_id))
    return lpips_on(_NeverZero(trunk.eval()), TRUNKS[net][1], heads_of(net))
