"""Lists of references with their source views, in files."""

import json
from pathlib import Path

from toolbox.errors import UserError
from toolbox.io import read_pair_txt
from toolbox.structures import Scene

Pairs = dict[int, list[int]]


def read_pairs(path: str | Path) -> Pairs:
    """Source ids of each reference id, best first.

    Args:
        path: MVSNet's ``pair.txt``; or JSON ``{"reference id": [source id, ...]}``, by itself or under the key "pairs".

    Raises:
        UserError: the file is missing or malformed, or lists a view twice or as its own source.
    """
    path = Path(path)
    pairs = _read_json(path) if path.suffix == ".json" else _without_scores(path)
    for reference, sources in pairs.items():
        if len({reference, *sources}) != 1 + len(sources):
            raise UserError(
                path, f"lists {sources} for {reference}", "A source is another view than its reference, and listed once"
            )
    return pairs


def check_pairs(pairs: Pairs, scenes: list[Scene], path: str | Path) -> None:
    """Raise UserError where a scene lacks a view that the list (of the file ``path``) names."""
    named = {view_id for reference, sources in pairs.items() for view_id in (reference, *sources)}
    for scene in scenes:
        missing = sorted(named - {view.id for view in scene.views})
        if missing:
            raise UserError(
                path,
                f"names views that scene '{scene.name}' lacks: {', '.join(map(str, missing))}",
                "Give the list that belongs to the scene; ids are the importer's, and frames that it left out count "
                "as missing",
            )


def _without_scores(path: Path) -> Pairs:
    return {reference: [source for source, _ in sources] for reference, sources in read_pair_txt(path).items()}


def _read_json(path: Path) -> Pairs:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(path, f"cannot be read ({error})", "Check the path, and that it is JSON") from error
    try:
        listed = content.get("pairs", content)
        return {int(reference): [_integer(source) for source in sources] for reference, sources in listed.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(
            path, f"is no list of pairs ({error})", 'Write {"reference id": [source id, ...], ...}'
        ) from error


def _integer(value: object) -> int:
    if not isinstance(value, int):
        raise ValueError(f"'{value}' is no view id")
    return value
