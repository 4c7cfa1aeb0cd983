"""The published network on small problems: inputs, weights and outputs."""

from pathlib import Path

import pytest
import torch

from toolbox.engine import convert_cvp_mvsnet, load_config
from toolbox.models.reconstructors import MultiViewStereo
from toolbox.registry import MODELS
from toolbox.structures import MultiViewBatch

ROOT = Path(__file__).resolve().parents[2]


class Golden:
    """One golden file of the published CVP-MVSNet."""

    def __init__(self, path: Path):
        self.data = torch.load(path, weights_only=True)
        self.num_levels = self.data["meta"]["nscale"]

    def model(self) -> MultiViewStereo:
        """The official configuration with the golden weights."""
        config = load_config(ROOT / "configs/cvp_mvsnet/cvp_mvsnet_official.py").model
        model = MODELS.build({**config, "num_levels": self.num_levels, "test_num_levels": self.num_levels})
        weights = convert_cvp_mvsnet(self.data["state_dict"])
        model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in weights.items()})
        return model

    def batch(self) -> MultiViewBatch:
        """The golden inputs, the reference as view 0."""
        inputs = self.data["inputs"]

        def views(reference: str, sources: str) -> torch.Tensor:
            return torch.cat((inputs[reference][:, None], inputs[sources]), dim=1).float()

        return MultiViewBatch(
            images=views("ref_img", "src_imgs"),
            intrinsics=views("ref_intrinsics", "src_intrinsics"),
            world_to_cam=views("ref_extrinsics", "src_extrinsics"),
            depth_range=torch.stack((inputs["depth_min"], inputs["depth_max"]), dim=1).float(),
        )


@pytest.fixture(scope="session")
def golden_small(shared) -> Golden:
    """96x128, 2 levels, 2 sources, inference, with intermediates."""
    return Golden(shared / "golden/cvp/cvp_test_small.pt")


@pytest.fixture(scope="session")
def golden_3scale(shared) -> Golden:
    """128x160, 3 levels, 3 sources, inference."""
    return Golden(shared / "golden/cvp/cvp_test_3scale.pt")


@pytest.fixture(scope="session")
def golden_training(shared) -> Golden:
    """64x80, batch of 2, one training step."""
    return Golden(shared / "golden/cvp/cvp_train_step.pt")
