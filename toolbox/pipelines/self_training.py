"""Unsupervised start and self-training: infer, fuse, label, train on the labels, evaluate, and again; resumable.

Yang, Alvarez and Liu: Self-supervised Learning of Depth Inference for Multi-view Stereo (CVPR 2021), section 3.2.
"""

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from toolbox.datasets import build_scenes
from toolbox.datasets.scenes import label_folder_name, with_poses
from toolbox.engine import build_model
from toolbox.errors import UserError
from toolbox.fusion import FusionRecipe
from toolbox.models.reconstructors import MultiViewStereo, PoseRefinementSettings
from toolbox.structures import Scene

from .executors import map_scenes
from .label_assessment import assess_labels, draw_labels
from .pseudo_labels import LabelSettings, label_scene
from .scene_poses import refine_poses
from .scene_reconstruction import ReconstructionSettings, reconstruct_scene_files
from .self_training_report import write_report
from .stages import Manifest, fingerprint
from .training_stages import evaluate, train


@dataclass(frozen=True)
class SelfTrainingSettings:
    """The ``self_training`` part of a config.

    Attributes:
        iterations: rounds of labelling and training.
        inference: how depth maps, cloud and mesh are made for the labels.
        labels: what the labels are taken from.
        training: options set on the config for training on labels (losses, length, learning rate ...).
        poses: refine the poses of every scene before it is labelled, against the surface that its depth maps make;
            None: take them as they are given.
        label_scenes: importer configs of the scenes that are reconstructed, where they are not the training scenes
            (images of a higher resolution, say). Names, view ids and worlds are those of the training scenes.
        shared: see ``PseudoLabelledScenes``.
        metrics: options of ``depth_metrics`` for scenes that have depth.
        reconstruction: reconstruct every scene with the last network; None: do not.
    """

    iterations: int = 2
    inference: ReconstructionSettings = field(default_factory=ReconstructionSettings)
    labels: LabelSettings = field(default_factory=LabelSettings)
    training: dict[str, Any] = field(default_factory=dict)
    poses: PoseRefinementSettings | None = None
    label_scenes: Any = None
    shared: str | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    reconstruction: ReconstructionSettings | None = None

    @classmethod
    def from_config(cls, config: Config) -> "SelfTrainingSettings":
        """Settings from a config; the labels' size and depth range are those of its training data where not given.

        Raises:
            UserError: there is no ``self_training``, or an option of it does not exist.
        """
        if not config.get("self_training"):
            raise UserError(
                config.filename or "the config", "has no 'self_training'", "Add it; see configs/self_cvp_mvsnet"
            )
        given = config._cfg_dict.to_dict()["self_training"]
        dataset = config.train_dataloader.dataset
        grid = {name: dataset.get(name) for name in ("size", "max_size", "depth_range")}
        grid = {name: tuple(value) if isinstance(value, list) else value for name, value in grid.items()}
        with _named_options("self_training"):
            return cls(
                **{
                    **given,
                    "inference": _reconstruction(given.get("inference", {}), grid["depth_range"], keep_filtered=True),
                    "poses": None if given.get("poses") is None else PoseRefinementSettings(**given["poses"]),
                    "labels": LabelSettings(**{**grid, **given.get("labels", {})}),
                    "reconstruction": None
                    if given.get("reconstruction") is None
                    else _reconstruction(given["reconstruction"], grid["depth_range"]),
                }
            )


@contextlib.contextmanager
def _named_options(where: str) -> Iterator[None]:
    """Tell an option that does not exist as the mistake of the config that it is."""
    try:
        yield
    except TypeError as error:
        _, unexpected, option = str(error).partition("unexpected keyword argument ")
        if not unexpected:
            raise
        raise UserError(where, f"has no option {option}", "See docs/self_training.md for its options") from error


def _reconstruction(
    given: dict[str, Any], depth_range: tuple[float, float] | None, keep_filtered: bool = False
) -> ReconstructionSettings:
    given = {"depth_range": depth_range, "keep_filtered": keep_filtered, **given}
    recipe = FusionRecipe.from_dict(given.pop("recipe", {}))
    return ReconstructionSettings(**given, recipe=recipe)


@dataclass(frozen=True)
class LabelJob:
    """All that the labels of one scene are made from, for any process."""

    config: Config
    checkpoint: Path
    scene: Scene
    training_scene: Scene
    out: Path
    settings: SelfTrainingSettings
    previous: Path | None
    quiet: bool


def self_train(
    config: Config,
    work_dir: str | Path,
    checkpoint: str | Path | None = None,
    iterations: int | None = None,
    executor: str = "serial",
    workers: int | None = None,
) -> dict[str, Any]:
    """The whole loop. A run that was killed goes on where it stopped; a changed setting reruns what depends on it.

    Under ``work_dir``: ``start/`` (the unsupervised training, unless a checkpoint is given), and for each iteration
    ``iteration_k/`` with ``scenes/<name>/`` (depth maps, cloud, mesh, labels), ``training/``, ``checkpoint.pth``,
    ``evaluation/`` and ``pictures/``; ``report.md`` and ``report.json`` are written anew after every step.

    Args:
        config: trains the start; its ``self_training`` says how to go on.
        checkpoint: weights to start from, in place of the config's own training.
        iterations: None takes the config's.
        executor, workers: how scenes are reconstructed and labelled, see ``map_scenes``.

    Returns:
        What is in ``report.json``.

    Raises:
        UserError: the config, a scene or the checkpoint is at fault. What was computed before stays.
    """
    settings = SelfTrainingSettings.from_config(config)
    iterations = settings.iterations if iterations is None else iterations
    work_dir = Path(work_dir)
    work_dir.mkdir(parents=True, exist_ok=True)
    training_scenes = _by_label_folder(build_scenes(config.train_dataloader.dataset.scenes), settings.shared)
    scenes = training_scenes
    if settings.label_scenes is not None:
        scenes = _by_label_folder(build_scenes(settings.label_scenes), settings.shared)
        _check_names(scenes, training_scenes)
    report: dict[str, Any] = {"iterations": []}

    def note(**row: Any) -> None:
        report["iterations"].append(row)
        write_report(work_dir, config, report)

    current = Path(checkpoint) if checkpoint else train(config, work_dir / "start", "start")
    note(iteration=0, checkpoint=str(current), evaluation=_evaluate(config, settings, current, work_dir / "start"))
    previous: Path | None = None
    for number in range(1, iterations + 1):
        print_log(f"Self-training iteration {number} of {iterations}", logger="current")
        folder = work_dir / f"iteration_{number}"
        jobs = [
            LabelJob(
                config,
                current,
                scenes[name],
                training_scenes[name],
                folder / "scenes" / name,
                settings,
                previous and previous / name,
                quiet=executor != "serial",
            )
            for name in training_scenes
        ]
        labels = dict(zip(training_scenes, map_scenes(make_labels, jobs, executor, workers), strict=True))
        previous = folder / "scenes"
        made_from = [Manifest(previous / name).made_from("labels") for name in training_scenes]
        current = train(
            labelled_config(config, settings, previous, number), folder, f"iteration_{number}", current, made_from
        )
        note(
            iteration=number,
            checkpoint=str(current),
            labels=labels,
            evaluation=_evaluate(config, settings, current, folder, previous),
        )
    if settings.reconstruction is not None:
        if settings.poses is not None and previous is not None:
            scenes = {name: with_poses(scene, previous / name / "poses.json") for name, scene in scenes.items()}
        report["reconstructions"] = reconstruct_all(config, current, scenes, work_dir, settings.reconstruction)
        write_report(work_dir, config, report)
    return report


def make_labels(job: LabelJob) -> dict[str, Any]:
    """Reconstruct a scene with the current network, label the training views, and say how good the labels are."""
    settings, scene, training_scene = job.settings, job.scene, job.training_scene
    model = build_model(job.config, job.checkpoint)
    of_poses: dict[str, Any] = {}
    if settings.poses is not None:
        of_poses = _refine_poses(job, model)
        scene, training_scene = (with_poses(s, job.out / "poses.json") for s in (scene, training_scene))
    summary = reconstruct_scene_files(scene, model, job.out, settings.inference, job.quiet)
    facts = label_scene(training_scene, job.out, settings.labels, job.quiet)
    manifest = Manifest(job.out)
    depth_files = [str(view.depth_path) for view in training_scene.views if view.depth_path is not None]
    before = job.previous and Manifest(job.previous).made_from("labels")
    made_from = fingerprint([manifest.made_from("labels"), before, depth_files, settings.metrics])
    picture = job.out.parents[1] / "pictures" / f"{training_scene.name}.png"
    if not manifest.begin("assessment", made_from, [picture]):
        depth_range = settings.labels.depth_range
        assessment = assess_labels(training_scene, job.out, depth_range, job.previous, settings.metrics)
        draw_labels(training_scene, job.out, picture)
        manifest.finish("assessment", **assessment)
    return {"points": summary["fusion"]["points"], **facts, **manifest.facts("assessment"), "poses": of_poses}


def _refine_poses(job: LabelJob, model: MultiViewStereo) -> dict[str, Any]:
    """A reconstruction with the best poses so far, and the given poses refined against its surface."""
    so_far = job.scene if job.previous is None else with_poses(job.scene, job.previous / "poses.json")
    surface = job.out / "before_poses"
    reconstruct_scene_files(so_far, model, surface, job.settings.inference, job.quiet)
    device = next(model.parameters()).device
    depth_range = job.settings.inference.depth_range
    return refine_poses(job.training_scene, surface, job.out, job.settings.poses, depth_range, device, job.quiet)


def _evaluate(
    config: Config, settings: SelfTrainingSettings, checkpoint: Path, folder: Path, labels: Path | None = None
) -> dict[str, float]:
    """Metrics of the test data, with the poses given; and with refined ones, where all its scenes have some."""
    metrics = evaluate(config, checkpoint, folder)
    if not metrics or labels is None or settings.poses is None:
        return metrics
    plain = config._cfg_dict.to_dict()
    dataset = plain["test_dataloader"]["dataset"]
    names = [label_folder_name(scene.name, settings.shared) for scene in build_scenes(dataset["scenes"])]
    if not all((labels / name / "poses.json").exists() for name in names):
        return metrics
    dataset["scenes"] = _refined(dataset["scenes"], settings, labels)
    refined = evaluate(Config(plain, filename=config.filename), checkpoint, folder, "evaluation_refined_poses")
    return metrics | {f"{name}, refined poses": value for name, value in refined.items()}


def _refined(scenes: Any, settings: SelfTrainingSettings, labels: Path) -> dict[str, Any]:
    return {"type": "RefinedScenes", "scenes": scenes, "poses": str(labels.absolute()), "shared": settings.shared}


def reconstruct_all(
    config: Config, checkpoint: Path, scenes: dict[str, Scene], work_dir: Path, settings: ReconstructionSettings
) -> dict[str, Any]:
    """Every scene to depth maps, cloud and mesh under ``work_dir/reconstruction``; returns the summaries."""
    model = build_model(config, checkpoint)
    return {
        name: reconstruct_scene_files(scene, model, work_dir / "reconstruction" / name, settings)
        for name, scene in scenes.items()
    }


def labelled_config(config: Config, settings: SelfTrainingSettings, labels: Path, number: int) -> Config:
    """The config of a training on labels: its scenes' depth is theirs, and nothing else's."""
    labelled = Config(config._cfg_dict.to_dict())
    labelled.merge_from_dict(copy.deepcopy(settings.training))  # merging takes '_delete_' out of it
    dataset = labelled.train_dataloader.dataset
    scenes = config._cfg_dict.to_dict()["train_dataloader"]["dataset"]["scenes"]
    if settings.poses is not None:
        scenes = _refined(scenes, settings, labels)
    dataset.scenes = {
        "type": "PseudoLabelledScenes",
        "scenes": scenes,
        "labels": str(labels.absolute()),
        "shared": settings.shared,
    }
    dataset.read_depth = True
    seed = labelled.get("randomness", {}).get("seed") or 0
    labelled.randomness = {**labelled.get("randomness", {}), "seed": seed + number}
    return labelled


def _by_label_folder(scenes: list[Scene], shared: str | None) -> dict[str, Scene]:
    """The first scene of each folder of labels, by the folder's name."""
    chosen: dict[str, Scene] = {}
    for scene in scenes:
        chosen.setdefault(label_folder_name(scene.name, shared), scene)
    return chosen


def _check_names(scenes: dict[str, Scene], training_scenes: dict[str, Scene]) -> None:
    missing = [name for name in training_scenes if name not in scenes]
    if missing:
        raise UserError(
            "self_training.label_scenes",
            f"has no scene for {', '.join(missing)} (it has: {', '.join(scenes)})",
            "Give the same scenes as the training data, under the same names; 'shared' maps names onto each other",
        )
