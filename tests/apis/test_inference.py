from pathlib import Path

import pytest
import torch

from toolbox.apis import infer_depth, init_model
from toolbox.apis.inference import check_inputs
from toolbox.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
SLIM = ROOT / "configs/cvp_mvsnet/cvp_mvsnet_slim.py"


@pytest.fixture
def inputs(tabletop) -> dict[str, torch.Tensor]:
    return {
        "images": torch.from_numpy(tabletop.images[:3]).permute(0, 3, 1, 2)[None].float() / 255,
        "intrinsics": torch.from_numpy(tabletop.intrinsics[:3])[None].float(),
        "world_to_cam": torch.from_numpy(tabletop.world_to_cam[:3])[None].float(),
        "depth_range": torch.tensor([[425.0, 935.0]]),
    }


def test_config_to_depth(inputs, tmp_path):
    model = init_model(SLIM, device="cpu")
    assert not model.training
    prediction = infer_depth(model, **inputs, num_levels=3)
    assert [tuple(d.shape) for d in prediction.depths] == [(1, 96, 128), (1, 48, 64), (1, 24, 32)]
    assert prediction.confidence.shape == (1, 96, 128)

    torch.save({"state_dict": model.state_dict(), "meta": {}}, tmp_path / "weights.pth")
    again = infer_depth(init_model(SLIM, tmp_path / "weights.pth", device="cpu"), **inputs, num_levels=3)
    torch.testing.assert_close(again.depths[0], prediction.depths[0])


def test_far_from_the_worlds_origin(inputs, tabletop):
    """As geo-referenced captures are: moving the world does not change the depth."""
    model = init_model(SLIM, device="cpu")
    inputs["world_to_cam"] = torch.from_numpy(tabletop.world_to_cam[:3])[None].double()
    moved = inputs["world_to_cam"].clone()
    offset = torch.tensor([4.5e5, 5.4e6, 300.0]).double()
    moved[..., :3, 3] -= moved[..., :3, :3] @ offset
    here = infer_depth(model, **inputs)
    there = infer_depth(model, **{**inputs, "world_to_cam": moved})
    torch.testing.assert_close(there.depths[0], here.depths[0], atol=0.05, rtol=0)


def test_checkpoint_of_another_architecture(tmp_path):
    torch.save({"state_dict": init_model(SLIM, device="cpu").state_dict(), "meta": {}}, tmp_path / "slim.pth")
    with pytest.raises(UserError, match=r"slim\.pth"):
        init_model(ROOT / "configs/mvsnet/mvsnet.py", tmp_path / "slim.pth", device="cpu")


def test_converted_published_checkpoint(shared, tmp_path):
    """The published format through the converter and the api gives the published depth."""
    from toolbox.engine import convert_cvp_mvsnet

    golden = torch.load(shared / "golden/cvp/cvp_test_small.pt", weights_only=True)
    weights = {k: v.float() if v.is_floating_point() else v for k, v in golden["state_dict"].items()}
    torch.save({"state_dict": convert_cvp_mvsnet(weights), "meta": {}}, tmp_path / "converted.pth")
    model = init_model(ROOT / "configs/cvp_mvsnet/cvp_mvsnet_official.py", tmp_path / "converted.pth", device="cpu")
    given = golden["inputs"]
    prediction = infer_depth(
        model,
        torch.cat((given["ref_img"][:, None], given["src_imgs"]), dim=1),
        torch.cat((given["ref_intrinsics"][:, None], given["src_intrinsics"]), dim=1),
        torch.cat((given["ref_extrinsics"][:, None], given["src_extrinsics"]), dim=1),
        torch.stack((given["depth_min"], given["depth_max"]), dim=1),
        num_levels=2,
    )
    assert (prediction.depths[0] - golden["outputs"]["depth_est_list"][0]).abs().max() < 3e-2


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("depth_range", lambda t: t.flip(1), "near < far"),
        ("depth_range", lambda t: -t, "near < far"),
        ("world_to_cam", lambda t: t * float("inf"), "not finite"),
    ],
)
def test_bad_input(inputs, name, change, message):
    with pytest.raises(UserError, match=f"{name}.*{message}|{message}"):
        infer_depth(init_model(SLIM, device="cpu"), **{**inputs, name: change(inputs[name])})


def test_wrong_shape(inputs):
    """Without the test's own shape checks, as users run it."""
    with pytest.raises(UserError, match=r"intrinsics.*shape \(1, 2, 3, 3\)"):
        check_inputs(**{**inputs, "intrinsics": inputs["intrinsics"][:, :2]})
