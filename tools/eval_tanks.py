#!/usr/bin/env python
"""Precision, recall and F-score of a point cloud on a Tanks and Temples scene.

python tools/eval_tanks.py cloud.ply TanksAndTemples/Barn --out barn.json
"""

import argparse
from pathlib import Path

from toolbox.errors import exit_on_user_error
from toolbox.evaluation.clouds import read_points
from toolbox.evaluation.tanks import (
    TanksRecipe,
    align_trajectory,
    evaluate_tanks_points,
    load_tanks_reference,
    published_threshold,
)
from toolbox.io import write_json


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cloud", type=Path, help="PLY file of the reconstruction")
    parser.add_argument("folder", type=Path, help="the scene's published evaluation files")
    parser.add_argument("--scene", help="the scene's name in its files; the folder's unless given")
    parser.add_argument(
        "--threshold", type=float, help="in the ground truth's unit (m); the published one unless given"
    )
    parser.add_argument("--icp", action="store_true", help="refine the alignment")
    parser.add_argument("--trajectory", type=Path, help="poses of a reconstruction that has a frame of its own (.log)")
    parser.add_argument("--workers", type=int, default=-1, help="threads of the search; -1 takes every core")
    parser.add_argument("--out", type=Path, help="JSON file of the numbers and the settings")
    return parser.parse_args()


@exit_on_user_error
def main() -> None:
    """Evaluate, print, write."""
    args = parse_args()
    scene = args.scene or args.folder.resolve().name
    threshold = published_threshold(scene) if args.threshold is None else args.threshold
    recipe = TanksRecipe(threshold, icp=args.icp)
    reference = load_tanks_reference(args.folder, scene)
    published = args.folder / f"{scene}_COLMAP_SfM.log"
    to_published = align_trajectory(args.trajectory, published) if args.trajectory else None
    scores = evaluate_tanks_points(read_points(args.cloud), reference, recipe, to_published, args.workers)
    for name in ("precision", "recall", "f_score"):
        print(f"{name:>10} {100 * scores[name]:7.3f} %")
    print(f"threshold {recipe.threshold:g}, voxels of {recipe.voxel:g} thresholds, ICP {'on' if recipe.icp else 'off'}")
    print(f"{scores['points_cropped']} of {scores['points']} points inside the volume, ", end="")
    print(f"{scores['points_not_finite']} not finite")
    if args.out:
        trajectory = str(args.trajectory) if args.trajectory else None
        report = {"recipe": recipe.to_dict(), "trajectory": trajectory, "cloud": str(args.cloud), "scene": scene}
        write_json(args.out, {**report, "scores": scores})


if __name__ == "__main__":
    main()
