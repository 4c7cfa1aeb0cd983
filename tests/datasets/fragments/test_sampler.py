from types import SimpleNamespace

import pytest

import toolbox.datasets.fragments.sampler as module
from toolbox.datasets.fragments import SceneOrderSampler
from toolbox.registry import DATA_SAMPLERS

LENGTHS = [3, 1, 4, 2, 5]
STARTS = [0, 3, 4, 8, 10]


@pytest.fixture
def sampler_of(monkeypatch):
    """A sampler as a process of some rank would build it."""

    def build(rank: int, world_size: int, lengths: list[int] | None = None, **options) -> SceneOrderSampler:
        monkeypatch.setattr(module, "get_dist_info", lambda: (rank, world_size))
        dataset = SimpleNamespace(scene_lengths=LENGTHS if lengths is None else lengths)
        return DATA_SAMPLERS.build({"type": "SceneOrderSampler", "dataset": dataset, "seed": 7, **options})

    return build


def scenes_of(samples: list[int]) -> list[int]:
    """The scenes in the order they come; fails where a scene's fragments are not consecutive and in order."""
    scenes, position = [], 0
    while position < len(samples):
        scene = STARTS.index(samples[position])
        count = min(LENGTHS[scene], len(samples) - position)
        assert samples[position : position + count] == list(range(STARTS[scene], STARTS[scene] + count))
        scenes.append(scene)
        position += count
    return scenes


def test_one_process_sees_every_fragment_in_order(sampler_of):
    sampler = sampler_of(0, 1)
    samples = list(sampler)
    assert sorted(index for index, _ in samples) == list(range(15))
    assert {epoch for _, epoch in samples} == {0}
    assert sorted(scenes_of([index for index, _ in samples])) == [0, 1, 2, 3, 4]
    assert len(sampler) == 15


def test_epochs_differ_and_repeat(sampler_of):
    sampler, again = sampler_of(0, 1), sampler_of(0, 1)
    orders = []
    for epoch in range(6):
        sampler.set_epoch(epoch)
        again.set_epoch(epoch)
        assert list(sampler) == list(again)
        assert {e for _, e in sampler} == {epoch}
        orders.append(tuple(scenes_of([index for index, _ in sampler])))
    assert len(set(orders)) > 3
    unshuffled = sampler_of(0, 1, shuffle=False)
    unshuffled.set_epoch(3)
    assert [index for index, _ in unshuffled] == list(range(15))


@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_ranks_share_the_scenes_and_stay_in_step(sampler_of, world_size):
    samplers = [sampler_of(rank, world_size) for rank in range(world_size)]
    for epoch in (0, 1):
        shares = []
        for sampler in samplers:
            sampler.set_epoch(epoch)
            shares.append([index for index, _ in sampler])
        assert len({len(share) for share in shares}) == 1
        assert len(shares[0]) == len(samplers[0]) <= {2: 8, 3: 6, 5: 5}[world_size]
        owners = [set(scenes_of(share)) for share in shares]
        assert set().union(*owners) == {0, 1, 2, 3, 4}
        assert sum(map(len, owners)) == 5


def test_without_rounding_up_every_fragment_comes_once(sampler_of):
    samplers = [sampler_of(rank, 3, round_up=False, shuffle=False) for rank in range(3)]
    samples = [index for sampler in samplers for index, _ in sampler]
    assert sorted(samples) == list(range(15))
    assert sum(map(len, samplers)) == 15


def test_more_ranks_than_scenes(sampler_of):
    samplers = [sampler_of(rank, 3, [2, 3]) for rank in range(3)]
    assert [len(list(sampler)) for sampler in samplers] == [3, 3, 3]
    idle = [sampler_of(rank, 3, [2, 3], round_up=False) for rank in range(3)]
    assert sorted(len(list(sampler)) for sampler in idle) == [0, 2, 3]


def test_loose_epochs_come_first_and_place_every_fragment_on_its_own(sampler_of):
    shares = []
    for rank in range(2):
        sampler, epochs = sampler_of(rank, 2, loose_epochs=2), []
        for epoch in range(3):
            sampler.set_epoch(epoch)
            epochs.append(list(sampler))
            assert len(epochs[-1]) == len(sampler)
        assert epochs[0] != epochs[1] and epochs[0] != sorted(epochs[0])
        assert {epoch for _, epoch in epochs[2]} == {2}
        shares.append(set(epochs[0]))
    assert shares[0] | shares[1] == set(range(15))
