"""Fragments of ScanNet with TSDF truth, as tools/prepare_fragments.py writes them; any other scenes come in the same way.

    python tools/prepare_fragments.py data/scannet/scans*/* --out data/scannet/fragments --executor process

The lists of names are ScanNet's own (v2), in data/scannet. Meshes are measured at the keyframes; the published numbers
are of all frames: test_evaluator.scenes (docs/evaluation.md).
"""

data_root = "data/scannet"
window = dict(shape=(96, 96, 96), voxel_size=0.04, max_depth=3.0)

train_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="SceneOrderSampler", shuffle=True),
    dataset=dict(
        type="FragmentDataset",
        prepared=f"{data_root}/fragments",
        names=f"{data_root}/scannetv2_train.txt",
        window=window,
        size=(480, 640),
        read_tsdf=True,
    ),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type="SceneOrderSampler", shuffle=False, round_up=False),
    dataset=dict(
        type="FragmentDataset",
        prepared=f"{data_root}/fragments",
        names=f"{data_root}/scannetv2_test.txt",
        window=window,
        size=(480, 640),
    ),
)
test_evaluator = dict(type="MeshMetric", protocols=("neuralrecon", "transformerfusion"))
test_cfg = dict()
