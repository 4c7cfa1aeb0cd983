#!/usr/bin/env python
"""Posed images -> depth maps, point cloud and mesh, with a trained network."""

import argparse
from pathlib import Path

from toolbox.apis import init_model, reconstruct_scene
from toolbox.datasets.scenes import open_scene
from toolbox.engine import parse_options
from toolbox.errors import exit_on_user_error


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scene", type=Path, help="folder or file of any format that docs/scenes.md lists")
    parser.add_argument("--config", required=True, help="config file of the network")
    parser.add_argument("--checkpoint", required=True, help="its weights")
    parser.add_argument("--out", required=True, type=Path, help="folder of the results; a run there is resumed")
    parser.add_argument("--format", default="auto", help="the scene's format, where it is not told by its files")
    parser.add_argument("--depth-range", nargs=2, type=float, metavar=("NEAR", "FAR"), help="in the scene's unit")
    parser.add_argument("--max-size", type=int, help="reduce the images' longer side to it")
    parser.add_argument("--num-levels", type=int, help="pyramid levels")
    parser.add_argument("--num-sources", type=int, help="source views per reference")
    parser.add_argument("--bfloat16", action="store_true", default=None, help="run the network in bfloat16")
    parser.add_argument("--recipe", nargs="+", default=[], metavar="KEY=VALUE", help="settings of the fusion recipe")
    parser.add_argument("--evaluate", action="store_true", default=None, help="compare with the scene's own depth")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 ...; the GPU where there is one")
    return parser.parse_args()


@exit_on_user_error
def main() -> None:
    """Open the scene, reconstruct it, say where the results lie."""
    args = parse_args()
    scene = open_scene(args.scene, format=args.format)
    print(f"{scene.name}: {len(scene.views)} views, {len(scene.left_out)} frames left out")
    for frame in scene.left_out:
        print(f"  left out {frame.name}: {frame.reason}")
    model = init_model(args.config, args.checkpoint, args.device)
    summary = reconstruct_scene(
        scene,
        model,
        args.out,
        recipe=parse_options(args.recipe),
        max_size=args.max_size,
        num_levels=args.num_levels,
        num_sources=args.num_sources,
        depth_range=tuple(args.depth_range) if args.depth_range else None,
        bfloat16=args.bfloat16,
        evaluate=args.evaluate,
    )
    fusion = summary["fusion"]
    print(f"{fusion['points']} points, {fusion['triangles']} triangles from {summary['references']} views")
    print(f"recipe: {fusion['recipe']}")
    for name, value in summary.get("depth_error", {}).items():
        print(f"depth {name}: {value:.4g}")
    print(f"results: {args.out}/depth {args.out}/cloud.ply {args.out}/mesh.ply {args.out}/summary.json")


if __name__ == "__main__":
    main()
