"""Make a procedural data set: tabletops in the layout of DTU, or furnished rooms in that of ScanNet.

python tools/make_synthetic.py --layout dtu --scenes 8 --views 25 --seed 0 --out data/tabletops
"""

import argparse
from pathlib import Path

from toolbox.errors import UserError, exit_on_user_error


def _size(text: str) -> tuple[int, int]:
    try:
        height, width = (int(part) for part in text.lower().split("x"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is no size; write HEIGHTxWIDTH, 480x640 say") from error
    return height, width


def _arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layout", choices=("dtu", "scannet"), required=True)
    parser.add_argument("--scenes", type=int, required=True, help="number of scenes (dtu: of training scans)")
    parser.add_argument("--views", type=int, required=True, help="views of every scene")
    parser.add_argument("--seed", type=int, default=0, help="decides everything; the same seed gives the same bytes")
    parser.add_argument("--out", type=Path, required=True, help="a new folder, or the same data set to continue")
    parser.add_argument("--size", type=_size, default=(480, 640), metavar="HxW", help="of images (480x640)")
    parser.add_argument("--height", type=int, help="instead of --size's")
    parser.add_argument("--width", type=int, help="instead of --size's")
    parser.add_argument("--lightings", type=int, help="dtu: images of a view, 1 to 7 (7); the middle one is diffuse")
    parser.add_argument("--test-scenes", type=int, help="dtu: held-out scans in MVSNet's test form (0)")
    parser.add_argument("--workers", type=int, help="threads (one for each processor)")
    return parser.parse_args(arguments)


@exit_on_user_error
def main() -> None:
    """Run the tool."""
    arguments = _arguments()
    from toolbox.datasets.synthetic import make_dtu_scenes, make_scannet_scenes

    if arguments.workers is not None and arguments.workers < 1:
        raise UserError(f"--workers {arguments.workers}", "is out of range", "Give at least 1, or leave it out")
    height, width = arguments.size
    size = (
        height if arguments.height is None else arguments.height,
        width if arguments.width is None else arguments.width,
    )
    common = (arguments.out, arguments.scenes, arguments.views, arguments.seed, size)
    if arguments.layout == "dtu":
        lightings = 7 if arguments.lightings is None else arguments.lightings
        make_dtu_scenes(*common, lightings, arguments.test_scenes or 0, workers=arguments.workers)
        return
    for name in ("lightings", "test_scenes"):
        if getattr(arguments, name) is not None:
            flag = "--" + name.replace("_", "-")
            raise UserError(flag, "belongs to the layout of DTU", "Leave it out, or use --layout dtu")
    make_scannet_scenes(*common, workers=arguments.workers)


if __name__ == "__main__":
    main()
