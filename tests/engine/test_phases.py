"""The two phases of a volumetric network's training."""

import logging
from types import SimpleNamespace

import pytest
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import Runner
from torch import nn

from toolbox.errors import UserError
from toolbox.models.losses.volumetric import SDFConsistencyLoss, WeakSupervisionLoss
from toolbox.registry import HOOKS


class Network(nn.Module):
    """What the hook sees of a volumetric network."""

    def __init__(self, fusion: object | None = "memory"):
        super().__init__()
        self.neck = SimpleNamespace(fusion=fusion, fusion_on=True)
        self.losses = nn.ModuleDict({"photometric": SDFConsistencyLoss(), "truth": WeakSupervisionLoss()})
        self.forgotten = 0

    def forget(self) -> None:
        self.forgotten += 1


class AtEpoch(Runner):
    """A runner of which only the model and the epoch are there."""

    epoch = 0

    def __init__(self, epoch: int, model: nn.Module):
        self.epoch, self.model, self.logger = epoch, model, logging.getLogger("test")


def test_memory_is_used_from_its_epoch_on():
    hook = HOOKS.build({"type": "FusionPhaseHook", "fusion_epoch": 2, "pair_distances": (5, 3)})
    model, states = Network(), []
    hook.before_train(AtEpoch(0, model))
    for epoch in range(4):
        hook.before_train_epoch(AtEpoch(epoch, model))
        states.append((model.neck.fusion_on, model.losses["photometric"].pairs.max_distance))
    assert states == [(False, 5), (False, 5), (True, 3), (True, 3)]
    assert model.forgotten == 4


def test_a_resumed_training_is_in_the_right_phase():
    model = Network()
    hook = HOOKS.build({"type": "FusionPhaseHook", "fusion_epoch": 3})
    model.neck.fusion_on = False
    hook.before_train_epoch(AtEpoch(7, model))
    assert model.neck.fusion_on and model.losses["photometric"].pairs.max_distance == 3


def test_the_network_inside_a_wrapper_is_switched():
    model = Network()
    wrapper = MMDistributedDataParallel.__new__(MMDistributedDataParallel)
    nn.Module.__init__(wrapper)
    wrapper.module = model
    HOOKS.build({"type": "FusionPhaseHook", "fusion_epoch": 1}).before_train_epoch(AtEpoch(0, wrapper))
    assert not model.neck.fusion_on


def test_mistakes_are_named():
    with pytest.raises(UserError, match="two distances"):
        HOOKS.build({"type": "FusionPhaseHook", "pair_distances": (5,)})
    with pytest.raises(UserError, match=r"no memory in Network.*GRUFusion"):
        HOOKS.build({"type": "FusionPhaseHook"}).before_train(AtEpoch(0, Network(fusion=None)))
