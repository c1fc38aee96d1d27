"""A pose from one X-ray: ResNet-18 with an SO(4) head.

A ResNet-18 trained on renderings of one CT is the patient-specific regressor of Chen & Kong (WACV 2026,
supplement); the heads and their bounds are ours.
"""

from __future__ import annotations

from torch import Tensor, nn

from .._optional import require
from ._blocks import standardized
from ._bounded_pose import BoundedPose
from .config import PoseRegressorConfig

# ResNet-18 has four stages, each twice as wide as the one before (He et al. 2016, table 1).
_WIDENING = (1, 2, 4, 8)


class PoseRegressor(nn.Module):
    """Predicts the motion [B, 4, 4] of a `PoseSpace` from images [B, H, W], in float64."""

    def __init__(self, config: PoseRegressorConfig) -> None:
        super().__init__()
        self.config = config
        self._decode = BoundedPose(config)
        norm = "batch" if config.norm == "batch" else ("group", {"num_groups": config.groups})
        self.network = require("monai.networks.nets.resnet").ResNet(
            block="basic",
            layers=[2, 2, 2, 2],
            block_inplanes=[config.width * factor for factor in _WIDENING],
            spatial_dims=2,
            n_input_channels=1,
            conv1_t_stride=2,
            num_classes=self._decode.outputs,
            bias_downsample=False,
            norm=norm,
        )
        self._decode.start_nominal(self.network.fc)

    def forward(self, image: Tensor) -> Tensor:
        """Motion [B, 4, 4] float64 predicted from images [B, H, W] of any tone."""
        return self._decode(self.network(standardized(image)[:, None]))
