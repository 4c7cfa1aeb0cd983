import torch

from toolbox.datasets.fragments.augmentation import RandomPlacement, scene_generator


def test_placements_are_rigid_and_keep_the_vertical():
    for _ in range(20):
        move = RandomPlacement(move_xy=2.0, move_z=0.5).draw()
        torch.testing.assert_close(move[:3, :3] @ move[:3, :3].T, torch.eye(3, dtype=torch.float64))
        assert torch.equal(move[2, :3], torch.tensor([0.0, 0, 1], dtype=torch.float64))
        assert torch.linalg.det(move[:3, :3]) > 0
        assert (move[:3, 3].abs() <= torch.tensor([2.0, 2.0, 0.5])).all()


def test_all_angles_and_offsets_occur():
    moves = torch.stack([RandomPlacement().draw() for _ in range(400)])
    angles = torch.rad2deg(torch.atan2(moves[:, 1, 0], moves[:, 0, 0]))
    assert torch.histc(angles, 8, -180, 180).min() > 20
    assert moves[:, 0, 3].min() < -1.4
    assert moves[:, 1, 3].max() > 1.4
    assert moves[:, 2, 3].abs().max() > 0.24


def test_parts_can_be_turned_off():
    still = RandomPlacement(rotation=False, move_xy=0.0, move_z=0.0).draw()
    assert torch.equal(still, torch.eye(4, dtype=torch.float64))


def test_placements_depend_on_seed_epoch_and_scene():
    def draw(*place: int) -> torch.Tensor:
        return RandomPlacement().draw(scene_generator(*place))

    assert torch.equal(draw(1, 2, 3), draw(1, 2, 3))
    others = [draw(*place) for place in ((1, 2, 3), (0, 2, 3), (1, 3, 3), (1, 2, 4), (2, 1, 3), (3, 2, 1))]
    assert all(not torch.allclose(a, b) for i, a in enumerate(others) for b in others[:i])
