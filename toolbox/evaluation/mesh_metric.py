"""Meshes of whole scenes, written and measured, for mmengine's validation and test loops over fragments."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmengine.dist import all_gather_object, broadcast_object_list, is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from toolbox.errors import UserError
from toolbox.fusion import SceneMesher, TriangleMesh, write_mesh
from toolbox.io import write_text
from toolbox.registry import METRICS, SCENES
from toolbox.structures import Scene

from .mesh_measures import FusedTruth, MeshJob, MeshMeasures, check_measurable, measure_mesh
from .mesh_protocols import NeuralReconRecipe, TransformerFusionRecipe
from .mesh_table import mesh_tables

Row = dict[str, Any]
Mapper = Callable[[Callable[[MeshJob], Row], Sequence[MeshJob]], Iterable[Row]]


@dataclass
class _OpenScene:
    """The scene whose fragments are arriving."""

    scene: Scene
    mesher: SceneMesher
    fragments: int = 0


def _one_by_one(function: Callable[[MeshJob], Row], jobs: Sequence[MeshJob]) -> Iterable[Row]:
    return [function(job) for job in jobs]


@METRICS.register_module()
class MeshMetric(BaseMetric):
    """Meshes of scenes against their truth; ``mesh_measures`` holds the definitions and names of the numbers.

    Takes the dicts of a volumetric network's ``predict`` mode, a scene's fragments in their order on one rank
    (``SceneOrderSampler`` with ``shuffle=False, round_up=False``, batch size 1). When a scene's last fragment has come,
    its mesh is written, in the scene's own world. At the end each rank measures its scenes, and their rows come
    together. Every number is the mean over scenes that have it.

    Args:
        protocols: one or several of 'neuralrecon', 'transformerfusion' and 'direct'.
        depth: compare depth rendered from the mesh, too, where the scene has depth.
        every: use every n-th frame of a scene.
        scenes: importer configs (from SCENES), one or a list, of the scenes with all their frames; None takes what the
            data set knows of them: all frames where it was made from scenes, the keyframes where from prepared
            fragments.
        references: folder of TransformerFusion's published ground truth; None makes it from mesh and depth.
        volume: settings of ``SceneMesher``.
        out_dir: gets ``SCENE/mesh.ply`` and the tables as ``table.txt``; None writes nothing (tools/test.py sets it).
        incremental: also write the mesh after each fragment, ``SCENE/mesh_0000.ply`` and so on.
        recipes: changes of 'neuralrecon', 'transformerfusion' and 'fused_truth': settings of ``NeuralReconRecipe``,
            ``TransformerFusionRecipe`` and ``FusedTruth``.
        renderer: from RENDERERS.

    Attributes:
        map: computes the rows of all scenes: (function, jobs) -> rows; may be replaced by one that works in parallel.
    """

    default_prefix = ""  # the protocol is the prefix

    def __init__(
        self,
        protocols: str | Sequence[str] = ("neuralrecon",),
        depth: bool = True,
        every: int = 1,
        scenes: dict | Scene | Sequence[dict | Scene] | None = None,
        references: str | Path | None = None,
        volume: dict[str, Any] | None = None,
        out_dir: str | Path | None = None,
        incremental: bool = False,
        recipes: dict[str, dict[str, Any]] | None = None,
        renderer: dict[str, Any] | None = None,
        prefix: str | None = None,
    ):
        super().__init__(collect_device="gpu", prefix=prefix)
        recipes = dict(recipes or {})
        if unknown := set(recipes) - {"neuralrecon", "transformerfusion", "fused_truth"}:
            raise UserError(
                f"MeshMetric.recipes: {sorted(unknown)}", "are none", "Give neuralrecon, transformerfusion, fused_truth"
            )
        self.measures = MeshMeasures(
            protocols=(protocols,) if isinstance(protocols, str) else tuple(protocols),
            depth=depth,
            every=every,
            references=None if references is None else Path(references),
            neural_recon=NeuralReconRecipe(**recipes.get("neuralrecon", {})),
            transformer_fusion=TransformerFusionRecipe(**recipes.get("transformerfusion", {})),
            fused_truth=FusedTruth(**recipes.get("fused_truth", {})),
            renderer=renderer or {"type": "RaycastRenderer"},
        )
        self.volume, self.incremental = dict(volume or {}), incremental
        SceneMesher(**self.volume)  # a mistake is told before the first scene
        self.out_dir = None if out_dir is None else Path(out_dir)
        if incremental and out_dir is None:
            raise UserError("MeshMetric", "is to write meshes after each fragment, and not told where", "Give out_dir")
        self.scenes = scenes
        self.map: Mapper = _one_by_one
        self.report: dict = {}
        self._known: dict[str, Scene] | None = None
        self._open: _OpenScene | None = None

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        """Take in fragments; a scene that is complete becomes a job for ``evaluate``."""
        for sample in data_samples:
            meta = sample["meta"]
            if meta["first"]:
                scene = self._scene(meta)
                check_measurable(scene, self.measures)
                self._open = _OpenScene(scene, SceneMesher(**self.volume))
            self._check_order(meta)
            self._open.mesher.add(sample)
            self._open.fragments += 1
            if self.incremental:
                self._write(f"mesh_{meta['fragment']:04d}.ply", self._open.mesher.mesh())
            if meta["last"]:
                self._finish()

    def _scene(self, meta: dict) -> Scene:
        if self.scenes is None:
            return meta["recording"]
        if self._known is None:
            configs = [self.scenes] if isinstance(self.scenes, dict | Scene) else self.scenes
            built = [scene if isinstance(scene, Scene) else SCENES.build(scene) for scene in configs]
            found = [scene for result in built for scene in (result if isinstance(result, list) else [result])]
            self._known = {scene.name: scene for scene in found}
        if meta["scene"] not in self._known:
            raise UserError(
                "MeshMetric.scenes", f"has no '{meta['scene']}' (but: {', '.join(self._known)})", "Add that scene"
            )
        return self._known[meta["scene"]]

    def _check_order(self, meta: dict) -> None:
        if self._open is None or self._open.scene.name != meta["scene"] or self._open.fragments != meta["fragment"]:
            raise UserError(
                f"fragment {meta['fragment']} of scene '{meta['scene']}'",
                "does not follow the fragment before it",
                "Set sampler=dict(type='SceneOrderSampler', shuffle=False, round_up=False) and batch_size=1",
            )

    def _finish(self) -> None:
        mesh = self._open.mesher.mesh()
        where = self._write("mesh.ply", mesh)
        about = {"fragments": self._open.fragments, "voxels": len(self._open.mesher)}
        if where is not None:
            about["mesh"] = str(where)
        self.results.append(MeshJob(self._open.scene, where or (mesh.vertices, mesh.triangles), self.measures, about))
        self._open = None

    def _write(self, name: str, mesh: TriangleMesh) -> Path | None:
        if self.out_dir is None:
            return None
        path = self.out_dir / re.sub(r"[^\w.-]+", "_", self._open.scene.name) / name
        write_mesh(path, mesh)
        return path

    def evaluate(self, size: int) -> dict[str, float]:
        """Measure this rank's scenes; the metrics of all ranks' scenes.

        Args:
            size: of the data set; of no account, since results are scenes and not samples.

        Raises:
            UserError: no scene was complete, or one cannot be measured.
        """
        jobs, self.results, self._open = self.results, [], None
        # mmengine's own way to collect results takes equally many from each rank.
        rows = [row for part in all_gather_object(list(self.map(measure_mesh, jobs))) for row in part]
        metrics = [self.compute_metrics(rows) if is_main_process() else None]
        broadcast_object_list(metrics)
        return metrics[0]

    def compute_metrics(self, results: list[Row]) -> dict[str, float]:
        """Means over scenes; ``report`` then holds the recipe and every scene's row.

        Raises:
            UserError: there is no scene.
        """
        rows = sorted({row["scene"]: row for row in results}.values(), key=lambda row: row["scene"])
        if not rows:
            raise UserError("MeshMetric", "got no complete scene", "Evaluate a data set with at least one fragment")
        names = [name for name in dict.fromkeys(name for row in rows for name in row) if "/" in name]
        metrics = {name: _mean([row[name] for row in rows if name in row]) for name in names}
        recipe = asdict(self.measures) | {"volume": self.volume, "references": str(self.measures.references)}
        counts = {"scenes": len(rows), "scenes_without_depth": sum(not row.get("frames_with_depth") for row in rows)}
        self.report = {"recipe": {"metric": type(self).__name__, **recipe}, "counts": counts, "scenes": rows}
        tables = mesh_tables(rows, metrics)
        print_log("\n" + tables, logger="current")
        if self.out_dir is not None:
            write_text(self.out_dir / "table.txt", tables)
        return metrics


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
