"""Procedural rooms at half of the usual resolution, with voxels of 10 cm; no depth file is opened in training.

    python tools/make_synthetic.py --layout scannet --scenes 26 --views 100 --size 240x320 --seed 1 --out data/rooms
    python tools/prepare_fragments.py data/rooms/scene* --out data/rooms/fragments \
        --distance 0.08 --keep-rest --voxel-size 0.1 --max-depth 3.6

The first 22 rooms are for training, the other four are measured.
"""

data_root = "data/rooms"
train_rooms = tuple(f"scene{number:04d}_00" for number in range(22))
test_rooms = tuple(f"scene{number:04d}_00" for number in range(22, 26))
window = dict(shape=(48, 48, 40), voxel_size=0.1, max_depth=3.6)

train_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type="SceneOrderSampler", shuffle=True),
    dataset=dict(
        type="FragmentDataset",
        prepared=f"{data_root}/fragments",
        names=train_rooms,
        window=window,
        size=(240, 320),
        read_tsdf=False,
        placement=dict(),
        transforms=[dict(type="Superpixels")],
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type="SceneOrderSampler", shuffle=False, round_up=False),
    dataset=dict(
        type="FragmentDataset",
        prepared=f"{data_root}/fragments",
        names=test_rooms,
        window=window,
        size=(240, 320),
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="MeshMetric", protocols=("neuralrecon",))
test_evaluator = val_evaluator
val_cfg = dict()
test_cfg = dict()
