"""The whole of it in minutes on two cores: make scenes, train, evaluate and reconstruct a scene held out.

    python tools/demo.py --out demo

Each step is one of the other tools; a demo that was interrupted goes on where it stopped.
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
from toolbox.io import read_image, read_pfm, write_image
from toolbox.visualization import contact_sheet, depth_to_rgb, overview_camera, render_cloud, render_mesh

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "configs/cvp_mvsnet/cvp_mvsnet_slim.py"
TRAINING_SCENES, VIEWS, SIZE = 8, 12, "240x320"


def run(tool: str, *arguments: object) -> None:
    """Run one of the tools, showing the command."""
    command = [sys.executable, str(ROOT / "tools" / tool), *map(str, arguments)]
    print(f"\n$ python {shlex.join(command[1:])}", flush=True)
    if subprocess.run(command, check=False).returncode:
        raise UserError(f"tools/{tool}", "failed (see above)", "Mend the cause and run the demo again")


def main_steps(out: Path, iterations: int) -> None:
    """Data, training, evaluation, reconstruction."""
    data, work, result = out / "data", out / "training", out / "reconstruction"
    held_out = TRAINING_SCENES + 1
    run("make_synthetic.py", "--layout", "dtu", "--scenes", held_out, "--views", VIEWS, "--seed", 1, "--size", SIZE,
        "--lightings", 3, "--test-scenes", 1, "--out", data)  # fmt: skip
    scans = list(range(1, held_out))
    options = [f"{loader}_dataloader.dataset.scenes.root={data}" for loader in ("train", "val", "test")]
    options += [f"train_dataloader.dataset.scenes.scans={scans}"]
    options += [f"{loader}_dataloader.dataset.scenes.scans=[{held_out}]" for loader in ("val", "test")]
    options += [f"{loader}_dataloader.dataset.scenes.lightings=[1]" for loader in ("val", "test")]
    checkpoint = work / f"iter_{iterations}.pth"
    if not checkpoint.exists():
        run("train.py", CONFIG, "--work-dir", work, "--resume", "--cfg-options", *options,
            f"train_cfg.max_iters={iterations}", f"param_scheduler.1.end={iterations}",
            f"param_scheduler.1.T_max={iterations - 50}")  # fmt: skip
    run("test.py", CONFIG, checkpoint, "--work-dir", out / "evaluation", "--cfg-options", *options)
    run("reconstruct.py", data / f"scan{held_out + 1}", "--config", CONFIG, "--checkpoint", checkpoint, "--out", result)
    draw(data / f"scan{held_out + 1}", result, out / "pictures")


def draw(scene: Path, result: Path, pictures: Path) -> None:
    """Depth maps beside their images, and the surface and the cloud from outside."""
    tiles, cameras = [], []
    for depth_path in sorted((result / "depth").glob("*.pfm")):
        image = next((scene / "images").glob(f"{depth_path.stem}.*"))
        camera = _world_to_cam(result / "cameras" / f"{depth_path.stem}_cam.txt")
        cameras.append(camera)
        if len(tiles) < 16:
            tiles += [(f"view {depth_path.stem}", read_image(image)), ("depth", depth_to_rgb(read_pfm(depth_path)))]
    write_image(pictures / "depth.png", contact_sheet(tiles, columns=4, tile_width=320))
    import trimesh

    cloud = np.asarray(trimesh.load(result / "cloud.ply").vertices)
    size = (540, 720)
    intrinsics, world_to_cam = overview_camera(np.stack(cameras), cloud[::50], size)
    write_image(pictures / "mesh.png", render_mesh(result / "mesh.ply", intrinsics, world_to_cam, size))
    shape = render_mesh(result / "mesh.ply", intrinsics, world_to_cam, size, shading="shape")
    write_image(pictures / "mesh_shape.png", shape)
    write_image(pictures / "cloud.png", render_cloud(result / "cloud.ply", intrinsics, world_to_cam, size))


def _world_to_cam(path: Path) -> np.ndarray:
    from toolbox.io import read_cam_txt

    return read_cam_txt(path).world_to_cam


def report(out: Path, seconds: float) -> None:
    """Say where the results lie, and how good they are."""
    metrics = json.loads((out / "evaluation" / "metrics.json").read_text())
    summary = json.loads((out / "reconstruction" / "summary.json").read_text())
    print(f"\nDone in {seconds / 60:.1f} minutes.")
    print("Depth of the held-out scene, against its exact depth:")
    for name, value in metrics["metrics"].items():
        print(f"  {name:28} {value:.4f}")
    print(f"recipe: {summary['fusion']['recipe']}")
    print(f"{summary['fusion']['points']} points, {summary['fusion']['triangles']} triangles")
    print("Results:")
    for what, path in (
        ("depth maps", "reconstruction/depth/"),
        ("cloud", "reconstruction/cloud.ply"),
        ("mesh", "reconstruction/mesh.ply"),
        ("summary", "reconstruction/summary.json"),
        ("metrics", "evaluation/metrics.json"),
        ("pictures", "pictures/"),
    ):
        print(f"  {what:12} {out / path}")


@exit_on_user_error
def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder of everything it makes")
    parser.add_argument("--iterations", type=int, default=400, help="of training")
    args = parser.parse_args()
    started = time.perf_counter()
    main_steps(args.out, args.iterations)
    report(args.out, time.perf_counter() - started)


if __name__ == "__main__":
    main()
