"""LPIPS through the package ``lpips``: its forward pass and heads, on trunks whose weights were verified first.

The package would download trunks by itself and check nothing, and it builds the whole classification network to throw
most of it away. Here a trunk is made without values and filled with verified ones.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.api import MetricWeights
from bench.errors import WeightsError
from bench.images import file_sha256

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


def trunk_of(net: str, weights: MetricWeights, weights_id: str) -> nn.Module:
    """The package's trunk filled with the torchvision weights of ``weights_id`` (keys ``features.<i>.<name>``)."""
    import lpips.pretrained_networks as networks

    make = getattr(networks, TRUNKS[net][0])
    with warnings.catch_warnings(), torch.device("meta"):  # no values: it builds the classifier too
        warnings.filterwarnings("ignore", message=".*(pretrained|Arguments other than a weight enum)")
        trunk = make(pretrained=False, requires_grad=False)
    if weights.untrained:
        return _seeded(trunk.to_empty(device="cpu"))
    return fill_trunk(trunk, weights.load(weights_id, "trunk"))


def _seeded(trunk: nn.Module) -> nn.Module:
    """Start values from a fixed seed: He's for convolutions, zero biases."""
    rng = torch.Generator().manual_seed(0)
    for parameter in trunk.parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter, generator=rng)
        else:
            nn.init.zeros_(parameter)
    return trunk.requires_grad_(False)


def fill_trunk(trunk: nn.Module, features: Mapping[str, Tensor]) -> nn.Module:
    """Put ``features.<i>.<name>`` where the package keeps it: ``slice<k>.<i>.<name>``; strict in both directions."""
    names = {key.split(".", 1)[1]: key for key in trunk.state_dict()}
    trunk.load_state_dict(
        {names.get(key.removeprefix("features."), key): value for key, value in features.items()},
        strict=True,
        assign=True,
    )
    return trunk.requires_grad_(False)


def build(net: str, weights: MetricWeights, weights_id: str) -> Any:
    """LPIPS v0.1 on ``alex``, ``vgg`` or ``squeeze``."""
    return lpips_on(trunk_of(net, weights, weights_id), TRUNKS[net][1], heads_of(net))
