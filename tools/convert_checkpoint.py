"""Turn a published checkpoint into one that tools/test.py and tools/reconstruct.py load.

    python tools/convert_checkpoint.py cvp_mvsnet model_000027.ckpt cvp_mvsnet_official.pth
    python tools/convert_checkpoint.py neuralrecon model_000047.ckpt neuralrecon_official.pth
    python tools/convert_checkpoint.py monoselfrecon model_000029.ckpt monoselfrecon_official.pth

The source is a dict with the weights under 'model' (and 'epoch', 'optimizer'), as the published programs write it.
Nothing in it is run.
"""

import argparse

import torch

from toolbox.engine.checkpoint import load_checkpoint_file
from toolbox.engine.checkpoint_conversion import CONVERTERS
from toolbox.errors import UserError, exit_on_user_error
from toolbox.io import atomic_path


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=sorted(CONVERTERS))
    parser.add_argument("source", help="the published file")
    parser.add_argument("target", help="where to write ours")
    return parser.parse_args()


@exit_on_user_error
def main() -> None:
    args = parse_args()
    published = load_checkpoint_file(args.source)
    if not isinstance(published.get("model"), dict):
        raise UserError(
            args.source,
            f"holds no weights under 'model' (it has: {', '.join(map(str, published)) or 'nothing'})",
            "Give a file as the published training program writes it",
        )
    weights = CONVERTERS[args.network](published["model"], args.source)
    meta = {"converted_from": args.network}
    if isinstance(published.get("epoch"), int):
        meta["epoch"] = published["epoch"]
    with atomic_path(args.target) as temporary:
        torch.save({"meta": meta, "state_dict": weights}, temporary)
    numbers = sum(weight.numel() for weight in weights.values() if weight.is_floating_point())
    print(f"{args.target}: {len(weights)} of {len(published['model'])} weights converted ({numbers} numbers)")


if __name__ == "__main__":
    main()
