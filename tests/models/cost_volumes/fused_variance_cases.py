"""Differences of the Triton kernels from plain PyTorch, of values and of gradients, as JSON. Argument: the device.

On a CPU it needs TRITON_INTERPRET=1, which Triton reads while it is imported: hence a process of its own.
"""

import json
import sys

import torch

from toolbox.geometry import PlaneSweep
from toolbox.models.cost_volumes import CostVolumePyramid, Variance
from toolbox.models.cost_volumes.warper import SweptSources

CASES = {
    "plain": {},
    "valid_only": {"aggregator": {"valid_only": True}},
    "published": {
        "aggregator": {"published_aliasing": True},
        "sampling": {"align_corners": False, "keep_behind": True},
    },
    "published_and_valid_only": {
        "aggregator": {"published_aliasing": True, "valid_only": True},
        "sampling": {"align_corners": False, "keep_behind": True},
    },
    "points_behind_the_camera": {"sampling": {"keep_behind": True}},
    "one_source_one_channel": {"sources": 1, "channels": 1},
    "many_channels": {"channels": 19, "planes": 2},
    "source_of_another_size": {"source_size": (11, 31)},
    "source_of_one_row": {"source_size": (1, 23)},
    "bfloat16": {"dtype": torch.bfloat16},
}
SIZE, CORNER = (13, 21), (2, 3)


def sweeps(sources: list[torch.Tensor], **sampling: bool) -> list[PlaneSweep]:
    """Sources around the reference: turned, and with points behind them, outside of them and on their borders."""
    batch, device = len(sources[0]), sources[0].device
    ref_k = torch.tensor([[20.0, 0, 10.0], [0, 23.0, 7.0], [0, 0, 1]], device=device).repeat(batch, 1, 1)
    ref_pose = torch.eye(4, dtype=torch.float64, device=device).repeat(batch, 1, 1)
    found = []
    for view, source in enumerate(sources):
        src_k, src_pose = ref_k.clone(), ref_pose.clone()
        if view:  # the first one lies in the reference's place: pixels on pixels, and the borders
            src_k[:, 0, 0], src_k[:, 1, 1], src_k[:, 0, 2], src_k[:, 1, 2] = 18.0, 19.0, 9.0, 8.0
            src_pose[:, 0, 0], src_pose[:, 0, 2], src_pose[:, 2, 0], src_pose[:, 2, 2] = 0.96, 0.28, -0.28, 0.96
            src_pose[:, :3, 3] = torch.tensor([-0.3, 0.1 * view, -0.6 * view], dtype=torch.float64)
            src_pose[1:, 0, 3] += 0.2
        found.append(PlaneSweep(source, ref_k, ref_pose, src_k, src_pose, **sampling))
    return found


def inputs(device: str, case: dict) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor, SweptSources]:
    """Features of the reference and of the sources; those of a part of the reference, and sources swept there."""
    generator = torch.Generator().manual_seed(0)
    channels, planes = case.get("channels", 5), case.get("planes", 3)
    size, count = case.get("source_size", SIZE), case.get("sources", 3)
    dtype = case.get("dtype", torch.float32)

    def features(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(device, dtype).requires_grad_()

    whole, sources = features(2, channels, SIZE[0], SIZE[1]), [features(2, channels, *size) for _ in range(count)]
    area = (..., slice(CORNER[0], None), slice(CORNER[1], -1))
    depth = (torch.rand((2, planes, *SIZE), generator=generator) * 2.5 + 0.2).to(device)[area]
    swept = SweptSources(sweeps(sources, **case.get("sampling", {})), depth, CORNER, torch.float32)
    return whole, sources, whole[area], swept


def results(kernel: str, device: str, case: dict) -> dict[str, torch.Tensor]:
    """The volume and the gradients."""
    whole, sources, reference, swept = inputs(device, case)
    if kernel == "torch":
        reference = reference.float()
    volume = Variance(**case.get("aggregator", {}), kernel=kernel)(reference, swept)
    factors = torch.randn(volume.shape, generator=torch.Generator().manual_seed(1))
    volume.backward(factors.to(device, volume.dtype))
    gradients = {f"source {view}": source.grad for view, source in enumerate(sources)}
    return {"volume": volume.detach().to(whole.dtype), "reference": whole.grad, **gradients}


def head_results(kernel: str, device: str) -> dict[str, torch.Tensor]:
    """Depth that a whole head makes, in strips and not, and the gradients of its training."""
    torch.manual_seed(1)
    hypotheses = {"type": "UniformDepth", "num": 4}
    regularizer = {"type": "HourglassRegularizer", "channels": (2, 2, 2)}
    aggregator = {"type": "WithReference", "aggregator": {"type": "Variance", "kernel": kernel}}
    head = CostVolumePyramid(3, hypotheses, regularizer, {"type": "FixedInterval", "num": 2}, aggregator=aggregator)
    head = head.to(device)
    features = [
        [torch.randn(1, 3, *size).to(device).requires_grad_() for size in ((16, 24), (8, 12))] for _ in range(3)
    ]
    intrinsics = torch.tensor([[20.0, 0, 11.0], [0, 22.0, 7.0], [0, 0, 1]], device=device).repeat(1, 3, 1, 1)
    poses = torch.eye(4, dtype=torch.float64, device=device).repeat(1, 3, 1, 1)
    poses[0, :, 0, 3] = torch.tensor([0.0, 0.3, -0.2])
    inputs = features, intrinsics, poses, torch.tensor([[1.0, 4.0]], device=device), (16, 24)
    head(*inputs).depths[0].sum().backward()
    gradients = {f"view {i} level {j}": f.grad for i, view in enumerate(features) for j, f in enumerate(view)}
    with torch.no_grad():
        return {"depth": head.eval()(*inputs).depths[0], **gradients}


def differences(expected: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> dict[str, float]:
    """Largest difference of each tensor, as a share of its largest number."""
    assert all(found[name].dtype == tensor.dtype for name, tensor in expected.items())
    return {
        name: ((found[name].float() - tensor.float()).abs().max() / tensor.float().abs().max().clamp(min=1e-9)).item()
        for name, tensor in expected.items()
    }


def shares(device: str) -> dict[str, float]:
    """How many samples of the first case lie behind a camera, outside of a source, and inside."""
    depth = (torch.rand((2, 3, *SIZE), generator=torch.Generator().manual_seed(0)) * 2.5 + 0.2).to(device)
    made = sweeps([torch.zeros(2, 1, *SIZE, device=device)] * 3)
    behind = torch.stack([~sweep._positions(depth, (0, 0), True).in_front for sweep in made])
    inside = torch.stack([sweep(depth)[1] for sweep in made])
    parts = {"behind": behind, "outside": ~inside & ~behind, "inside": inside}
    return {name: part.float().mean().item() for name, part in parts.items()}


def main(device: str) -> None:
    """Prints {case: {tensor: difference}}, and the shares."""
    found = {
        name: differences(*(results(k, device, case) for k in ("torch", "triton"))) for name, case in CASES.items()
    }
    found["head"] = differences(*(head_results(kernel, device) for kernel in ("torch", "triton")))
    print(json.dumps({"differences": found, "shares": shares(device)}))


if __name__ == "__main__":
    main(sys.argv[1])
