#!/usr/bin/env python
"""Posed images or video -> a mesh, with a trained network.

A multi-view network gives depth maps, point cloud and mesh; a volumetric one takes the images for a video in their
order, and gives a mesh.
"""

import argparse
from pathlib import Path
from typing import Any

from toolbox.apis import init_model, reconstruct_scene
from toolbox.datasets.scenes import open_scene
from toolbox.engine import parse_options
from toolbox.errors import exit_on_user_error


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", type=Path, help="folder or file of any format that docs/scenes.md lists")
    parser.add_argument("--config", required=True, help="config file of the network")
    parser.add_argument("--checkpoint", required=True, help="its weights")
    parser.add_argument("--out", required=True, type=Path, help="folder of the results; a run there is resumed")
    parser.add_argument("--format", default="auto", help="the scene's format, where it is not told by its files")
    parser.add_argument("--every", type=int, help="use every n-th view, and no other")
    parser.add_argument("--bfloat16", action="store_true", default=None, help="run the network in bfloat16")
    parser.add_argument(
        "--evaluate", action="store_true", default=None, help="compare with the scene's own depth, mesh"
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1 ...; the GPU where there is one")
    parser.add_argument(
        "--settings", nargs="+", default=[], metavar="KEY=VALUE", help="any others of the network's kind"
    )
    depth = parser.add_argument_group("multi-view networks")
    depth.add_argument("--depth-range", nargs=2, type=float, metavar=("NEAR", "FAR"), help="in the scene's unit")
    depth.add_argument("--max-size", type=int, help="reduce the images' longer side to it")
    depth.add_argument("--num-levels", type=int, help="pyramid levels")
    depth.add_argument("--num-sources", type=int, help="source views per reference")
    depth.add_argument("--recipe", nargs="+", default=[], metavar="KEY=VALUE", help="settings of the fusion recipe")
    video = parser.add_argument_group("volumetric networks")
    video.add_argument("--metres-per-unit", type=float, help="of the poses, where the source does not tell their unit")
    video.add_argument(
        "--incremental", action="store_true", default=None, help="write the mesh after each fragment, too"
    )
    return parser.parse_args()


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """What the command line says about the reconstruction."""
    names = ("every", "bfloat16", "evaluate", "max_size", "num_levels", "num_sources", "metres_per_unit", "incremental")
    settings = {name: value for name in names if (value := getattr(args, name)) is not None}
    if args.depth_range:
        settings["depth_range"] = tuple(args.depth_range)
    for key, value in parse_options(args.settings).items():
        name, _, inner = key.partition(".")
        settings[name] = {**settings.get(name, {}), inner: value} if inner else value
    return settings


def report(summary: dict[str, Any], out: Path) -> None:
    """Say what came of it, and where it lies."""
    if "fusion" in summary:
        fusion = summary["fusion"]
        print(f"{fusion['points']} points, {fusion['triangles']} triangles from {summary['references']} views")
        print(f"recipe: {fusion['recipe']}")
    else:
        frames = f"{summary['keyframes']} keyframes of {summary['frames']} frames"
        print(f"{summary['mesh']['triangles']} triangles from {summary['fragments']} fragments, {frames}")
        scale = summary["scale"]
        print(f"scale: {scale['metres_per_unit']:g} m per unit ({scale['from']}); path {scale['path_metres']:g} m")
    for kind in ("depth_error", "mesh_error"):
        for name, value in summary.get(kind, {}).items():
            print(f"{kind.split('_')[0]} {name}: " + (f"{value:.4g}" if isinstance(value, float) else str(value)))
    written = (
        ("depth", "cloud.ply", "mesh.ply", "summary.json") if "fusion" in summary else ("mesh.ply", "summary.json")
    )
    print("results: " + " ".join(f"{out}/{name}" for name in written))


@exit_on_user_error
def main() -> None:
    """Open the scene, reconstruct it, say where the results lie."""
    args = parse_args()
    scene = open_scene(args.scene, format=args.format)
    print(f"{scene.name}: {len(scene.views)} views, {len(scene.left_out)} frames left out")
    for frame in scene.left_out:
        print(f"  left out {frame.name}: {frame.reason}")
    model = init_model(args.config, args.checkpoint, args.device)
    summary = reconstruct_scene(scene, model, args.out, recipe=parse_options(args.recipe), **settings_of(args))
    report(summary, args.out)


if __name__ == "__main__":
    main()
