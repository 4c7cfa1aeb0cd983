"""The whole of it for rooms, in minutes on two cores: learn surfaces from video alone, and mesh rooms held out.

    python tools/demo_indoor.py --out demo_indoor

Rooms are generated; a slim MonoSelfRecon is trained on their images, first fragment by fragment, then with a memory of
the scene, and measured beside the untrained network and flat planes. Each step is one of the other tools; a demo that
was interrupted goes on where it stopped.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from demo import run

from toolbox.datasets.fragments import read_fragments
from toolbox.engine import build_model, load_config
from toolbox.errors import exit_on_user_error
from toolbox.evaluation.mesh_measures import MeshJob, measure_mesh
from toolbox.evaluation.rendered_frames import DepthFusion, MeshArrays, rendered_frames
from toolbox.io import atomic_path, read_image, write_image, write_json
from toolbox.rendering import RaycastRenderer, read_mesh
from toolbox.structures import Scene
from toolbox.visualization import contact_sheet, depth_to_rgb, error_to_rgb, look_at, render_mesh, robust_range

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "configs/monoselfrecon/self_slim.py"
VIEWS, SIZE = 100, "240x320"
TRAINED = tuple(f"scene{number:04d}_00" for number in range(8))
MEASURED = ("scene0008_00", "scene0009_00")
METRICS = ("neuralrecon/f_score", "neuralrecon/precision", "neuralrecon/recall", "depth/abs_rel", "depth/complete")
ORACLE = "flat planes at each view's true median"
_ERROR_SHOWN = 0.2  # relative error of the last colour


def make_rooms(out: Path) -> Path:
    """Rooms and their fragments; the folder of these."""
    rooms, fragments = out / "rooms", out / "fragments"
    run("make_synthetic.py", "--layout", "scannet", "--scenes", len(TRAINED + MEASURED), "--views", VIEWS,
        "--seed", 1, "--size", SIZE, "--out", rooms)  # fmt: skip
    run("prepare_fragments.py", *sorted(rooms.glob("scene*")), "--out", fragments, "--distance", 0.08, "--keep-rest",
        "--voxel-size", 0.1, "--max-depth", 3.6)  # fmt: skip
    return fragments


def data_options(fragments: Path) -> list[str]:
    """What points a config's data sets to the demo's rooms."""
    options = []
    for use, names in (("train", TRAINED), ("val", MEASURED), ("test", MEASURED)):
        data = f"{use}_dataloader.dataset"
        options += [f"{data}.prepared={fragments}", f"{data}.names=[{','.join(names)}]"]
    return options


def train_and_measure(out: Path, data: list[str], epochs: int, alone: int) -> None:
    """Both phases of the training; the untrained and the trained network measured."""
    untrained, training = out / "untrained.pth", out / "training"
    if not untrained.exists():
        torch.manual_seed(0)
        with atomic_path(untrained) as temporary:
            torch.save({"state_dict": build_model(load_config(CONFIG)).state_dict()}, temporary)
    run("train.py", CONFIG, "--work-dir", training, "--resume", "--cfg-options", *data,
        f"train_cfg.max_epochs={epochs}", f"custom_hooks.0.fusion_epoch={alone}",
        f"param_scheduler.1.end={epochs}", f"param_scheduler.1.T_max={epochs}")  # fmt: skip
    for name, weights in (("untrained", untrained), ("trained", training / f"epoch_{epochs}.pth")):
        run("test.py", CONFIG, weights, "--work-dir", out / name, "--cfg-options", *data)


def flat_planes(scene: Scene, distance: float | None = None) -> dict:
    """What flat planes score: each view's depth is one number everywhere, and all are fused to a mesh.

    Args:
        distance: the number, in metres; None is each view's own true median, which nobody knows.
    """
    fusion = DepthFusion(voxel_size=0.04, truncation=0.12, max_depth=5.0)
    for view in scene.views:
        depth, intrinsics = view.stored_depth()
        flat = np.median(depth[depth > 0]) if distance is None else distance
        fusion.integrate(np.full_like(depth, flat), intrinsics, view.world_to_cam)
    return measure_mesh(MeshJob(scene, fusion.mesh()))


def meshes(scene: Scene, out: Path) -> dict[str, MeshArrays]:
    """The true mesh and those of the networks; the untrained one's may be empty."""
    paths = {"the true room": scene.mesh_path}
    paths |= {f"{name} network": out / name / "meshes" / scene.name / "mesh.ply" for name in ("untrained", "trained")}
    return {name: read_mesh(path) for name, path in paths.items()}


def draw_depth(scene: Scene, out: Path, views: int = 4) -> None:
    """Some views with the depth of the true mesh, the untrained and the trained network's, and the error."""
    chosen = scene.views[:: -(-len(scene.views) // views)]
    frames = {name: list(rendered_frames(mesh, chosen, RaycastRenderer())) for name, mesh in meshes(scene, out).items()}
    tiles = []
    for number, view in enumerate(chosen):
        depths = {name: of_mesh[number].depth for name, of_mesh in frames.items()}
        true, trained = depths["the true room"], depths["trained network"]
        error = np.where((true > 0) & (trained > 0), trained / np.where(true > 0, true, 1) - 1, np.nan)
        tiles.append((f"view {view.name}", read_image(view.image_path)))
        tiles += [(name, depth_to_rgb(depth, robust_range(true))) for name, depth in depths.items()]
        tiles.append((f"error of trained, {_ERROR_SHOWN:.0%} bright", error_to_rgb(error, _ERROR_SHOWN)))
    write_image(out / "pictures" / f"{scene.name}_depth.png", contact_sheet(tiles, columns=5, tile_width=240))


def draw_meshes(scene: Scene, out: Path, size: tuple[int, int] = (480, 640)) -> None:
    """The true room and the networks' from above, looked into through the backs of walls."""
    middle = np.stack([view.centre for view in scene.views]).mean(axis=0)
    target, eye = middle + np.array([0.0, 0.0, -0.6]), middle + np.array([-3.2, -3.6, 4.2])
    focal = 0.95 * size[1]
    intrinsics = np.array([[focal, 0, size[1] / 2], [0, focal, size[0] / 2], [0, 0, 1]])
    camera = look_at(eye, target, np.array([0.0, 0.0, 1.0]))
    tiles = [("the true room", render_mesh(scene.mesh_path, intrinsics, camera, size, cull_back=True))]
    for name, (vertices, triangles) in meshes(scene, out).items():
        if len(triangles):
            mesh = (vertices, triangles, None)
            tiles.append((name, render_mesh(mesh, intrinsics, camera, size, shading="shape", cull_back=True)))
    write_image(out / "pictures" / f"{scene.name}_mesh.png", contact_sheet(tiles, columns=2))


def curve(training: Path) -> list[dict]:
    """Metrics of the held-out rooms after some of the epochs, as the trainings' logs have them."""
    lines = [line for path in sorted(training.glob("*/vis_data/scalars.json")) for line in path.read_text().split("\n")]
    rows = [json.loads(line) for line in lines if METRICS[0] in line]
    return [row for _, row in sorted({row["step"]: row for row in rows}.items())]


def summarize(out: Path, scenes: list[Scene]) -> dict[str, dict[str, float]]:
    """Metrics, means over the measured rooms, of planes and networks; written to ``summary.json``."""
    views = [view for name in TRAINED for view in read_fragments(out / "fragments" / name).scene.views]
    usual = float(np.median([np.median(depth[depth > 0]) for depth in (view.stored_depth()[0] for view in views)]))
    summary = {}
    for name, distance in ((f"flat planes at {usual:.2f} m, the rooms' median", usual), (ORACLE, None)):
        rows = [flat_planes(scene, distance) for scene in scenes]
        summary[name] = {metric: float(np.mean([row[metric] for row in rows])) for metric in METRICS}
    for name in ("untrained", "trained"):
        summary[name] = json.loads((out / name / "metrics.json").read_text())["metrics"]
    write_json(out / "summary.json", {"metrics": summary, "curve": curve(out / "training")})
    return summary


def report(out: Path, summary: dict[str, dict[str, float]], alone: int, seconds: float) -> None:
    """Say how good the meshes are, and where the results lie."""
    print(f"\nDone in {seconds / 60:.1f} minutes. No depth was read in training.")
    print(f"{'Rooms held out: ' + ', '.join(MEASURED):50}" + "".join(f"{name.split('/')[1]:>11}" for name in METRICS))
    rows = {name: row for name, row in summary.items() if name != "trained"}
    for row in curve(out / "training"):
        rows[f"after epoch {row['step']}{' (with memory)' if row['step'] > alone else ''}"] = row
    for name, row in rows.items():
        print(f"  {name:48}" + "".join(f"{row[metric]:11.4f}" for metric in METRICS))
    print("Recipe: NeuralRecon's protocol, 5 cm; depth of the mesh in all keyframes; means over the rooms.")
    print("Results:")
    for what, path in (
        ("meshes", "trained/meshes/"),
        ("numbers", "summary.json"),
        ("weights", "training/"),
        ("pictures", "pictures/"),
    ):
        print(f"  {what:12} {out / path}")


@exit_on_user_error
def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo_indoor"), help="folder of everything it makes")
    parser.add_argument("--epochs", type=int, default=11, help="of both phases together")
    parser.add_argument("--alone", type=int, default=9, help="of them, the first phase: without a memory of the scene")
    args = parser.parse_args()
    started = time.perf_counter()
    train_and_measure(args.out, data_options(make_rooms(args.out)), args.epochs, args.alone)
    scenes = [read_fragments(args.out / "fragments" / name).scene for name in MEASURED]
    summary = summarize(args.out, scenes)
    for scene in scenes:
        draw_depth(scene, args.out)
        draw_meshes(scene, args.out)
    report(args.out, summary, args.alone, time.perf_counter() - started)


if __name__ == "__main__":
    main()
