"""The whole of it in minutes on two cores: learn depth from images alone, and reconstruct a scene held out.

    python tools/demo.py --out demo

Scenes are generated; a network is trained on their images without depth, labels them by its own fused reconstructions
and is trained on those labels. Each step is one of the other tools; a demo that was interrupted goes on where it
stopped.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from toolbox.errors import UserError, exit_on_user_error
from toolbox.io import read_cam_txt, read_image, read_pfm, write_image
from toolbox.visualization import (
    contact_sheet,
    depth_to_rgb,
    error_to_rgb,
    overview_camera,
    render_cloud,
    render_mesh,
    robust_range,
)

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "configs/self_cvp_mvsnet/unsup_slim.py"
TRAINING_SCENES, VIEWS, SIZE = 8, 12, "240x320"
MEASURED, RECONSTRUCTED = TRAINING_SCENES + 1, TRAINING_SCENES + 2  # held out, both
NETWORKS = {"before": "start", "after": "iteration_1"}  # self-training
_ERROR_SHOWN = 0.05  # relative error of the last colour


def run(tool: str, *arguments: object) -> None:
    """Run one of the tools, showing the command."""
    command = [sys.executable, str(ROOT / "tools" / tool), *map(str, arguments)]
    print(f"\n$ python {shlex.join(command[1:])}", flush=True)
    if subprocess.run(command, check=False).returncode:
        raise UserError(f"tools/{tool}", "failed (see above)", "Mend the cause and run the demo again")


def main_steps(out: Path, start_steps: int, label_steps: int) -> None:
    """Data, unsupervised start, one iteration of self-training, reconstruction by the networks before and after it."""
    data, work = out / "data", out / "self_training"
    run("make_synthetic.py", "--layout", "dtu", "--scenes", MEASURED, "--views", VIEWS, "--seed", 1, "--size", SIZE,
        "--lightings", 3, "--test-scenes", 1, "--out", data)  # fmt: skip
    run("self_train.py", CONFIG, "--work-dir", work, "--iterations", 1, "--cfg-options",
        f"train_dataloader.dataset.scenes.root={data}",
        f"train_dataloader.dataset.scenes.scans={list(range(1, MEASURED))}",
        f"test_dataloader.dataset.scenes.root={data}",
        f"test_dataloader.dataset.scenes.scans=[{MEASURED}]",
        "test_dataloader.dataset.scenes.lightings=[1]",
        *length("", start_steps, 50), *length("self_training.training.", label_steps, 20))  # fmt: skip
    scene = data / f"scan{RECONSTRUCTED}"
    for when, stage in NETWORKS.items():
        run("reconstruct.py", scene, "--config", CONFIG, "--checkpoint", work / stage / "checkpoint.pth", "--out",
            out / "reconstruction" / when, "--evaluate")  # fmt: skip
    draw_depth(scene, out)
    draw_surface(out / "reconstruction" / "after", out / "pictures")


def length(prefix: str, steps: int, warm_up: int) -> list[str]:
    """Options that make a training so many steps long, of which the first warm up."""
    return [
        f"{prefix}train_cfg.max_iters={steps}",
        f"{prefix}param_scheduler.1.end={steps}",
        f"{prefix}param_scheduler.1.T_max={steps - warm_up}",
    ]


def draw_depth(scene: Path, out: Path) -> None:
    """Some views of the held-out scene with depth and its error, before and after self-training."""
    tiles = []
    for true_path in sorted((scene / "depth_gt").glob("*.pfm"))[::3]:
        view, true = true_path.stem, read_pfm(true_path)
        tiles.append((f"view {view}", read_image(next((scene / "images").glob(f"{view}.*")))))
        for when in NETWORKS:
            depth = read_pfm(out / "reconstruction" / when / "depth" / f"{view}.pfm")
            error = np.where(true > 0, depth / np.where(true > 0, true, 1) - 1, np.nan)
            tiles.append((f"depth {when} self-training", depth_to_rgb(depth, robust_range(true))))
            tiles.append((f"its error, {_ERROR_SHOWN:.0%} bright", error_to_rgb(error, _ERROR_SHOWN)))
    write_image(out / "pictures" / "depth.png", contact_sheet(tiles, columns=5, tile_width=320))


def draw_surface(result: Path, pictures: Path) -> None:
    """The surface and the cloud from outside."""
    import trimesh

    cameras = [read_cam_txt(path).world_to_cam for path in sorted((result / "cameras").glob("*_cam.txt"))]
    cloud = np.asarray(trimesh.load(result / "cloud.ply").vertices)
    size = (540, 720)
    intrinsics, world_to_cam = overview_camera(np.stack(cameras), cloud[::50], size)
    write_image(pictures / "mesh.png", render_mesh(result / "mesh.ply", intrinsics, world_to_cam, size))
    shape = render_mesh(result / "mesh.ply", intrinsics, world_to_cam, size, shading="shape")
    write_image(pictures / "mesh_shape.png", shape)
    write_image(pictures / "cloud.png", render_cloud(result / "cloud.ply", intrinsics, world_to_cam, size))


def report(out: Path, seconds: float) -> None:
    """Say how good the depth is before and after self-training, and where the results lie."""
    rows = json.loads((out / "self_training" / "report.json").read_text())["iterations"]
    summaries = {when: json.loads((out / "reconstruction" / when / "summary.json").read_text()) for when in NETWORKS}
    before, after = (row["evaluation"] for row in rows)
    print(f"\nDone in {seconds / 60:.1f} minutes. No depth was read in training.")
    print(f"{'Depth of held-out scenes, against their exact depth':52} unsupervised  self-trained")
    for name in ("abs_rel", "median_abs_rel", "within_2mm", "baseline_abs_rel"):
        print(f"  scan{MEASURED}: {name:42} {before[f'depth/{name}']:12.4f}  {after[f'depth/{name}']:12.4f}")
    first, second = (summary["depth_error"]["abs_rel"] for summary in summaries.values())
    print(f"  scan{RECONSTRUCTED}: {'abs_rel':41} {first:12.4f}  {second:12.4f}")
    fusion = summaries["after"]["fusion"]
    print(f"recipe: {fusion['recipe']}")
    print(f"{fusion['points']} points, {fusion['triangles']} triangles")
    print("Results:")
    for what, path in (
        ("report", "self_training/report.md"),
        ("labels", "self_training/iteration_1/pictures/"),
        ("depth maps", "reconstruction/after/depth/"),
        ("cloud", "reconstruction/after/cloud.ply"),
        ("mesh", "reconstruction/after/mesh.ply"),
        ("summary", "reconstruction/after/summary.json"),
        ("pictures", "pictures/"),
    ):
        print(f"  {what:12} {out / path}")


@exit_on_user_error
def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder of everything it makes")
    parser.add_argument("--start-steps", type=int, default=400, help="of unsupervised training")
    parser.add_argument("--label-steps", type=int, default=200, help="of training on the network's own labels")
    args = parser.parse_args()
    started = time.perf_counter()
    main_steps(args.out, args.start_steps, args.label_steps)
    report(args.out, time.perf_counter() - started)


if __name__ == "__main__":
    main()
