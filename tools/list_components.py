"""Print every registry with one line per component: its name and what it is.

python tools/list_components.py
python tools/list_components.py BACKBONES LOSSES --all
"""

import argparse
import inspect

from toolbox.errors import exit_on_user_error
from toolbox.registry import REGISTRIES, ToolboxRegistry


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("registries", nargs="*", metavar="REGISTRY", help=f"of {', '.join(REGISTRIES)}; default: all")
    parser.add_argument("--all", action="store_true", help="also print what mmengine registers itself")
    args = parser.parse_args()
    if unknown := sorted(set(args.registries) - set(REGISTRIES)):
        parser.error(f"no registry {', '.join(unknown)}; there are {', '.join(REGISTRIES)}")
    return args


def first_line(component: object) -> str:
    """The first line of a component's own docstring."""
    lines = (inspect.getdoc(component) if component.__doc__ else "") or ""
    return lines.strip().split("\n")[0]


def components(registry: ToolboxRegistry, inherited: bool) -> dict[str, object]:
    """Name -> component, the toolbox's own and plugins', or with mmengine's."""
    own = {name: registry.module_dict[name] for name in registry.names()}
    return (dict(registry.parent.module_dict) if inherited and registry.parent else {}) | own


@exit_on_user_error
def main() -> None:
    args = parse_args()
    for title, registry in REGISTRIES.items():
        if args.registries and title not in args.registries:
            continue
        found = components(registry, args.all)
        if not found and not args.registries:
            continue
        print(f"{title} ({len(found)})")
        width = max(map(len, found), default=0)
        for name in sorted(found):
            print(f"  {name:<{width}}  {first_line(found[name])}".rstrip())


if __name__ == "__main__":
    main()
