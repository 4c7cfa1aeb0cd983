"""Fragments of ScanNet with TSDF truth, as tools/prepare_fragments.py writes them; any other scenes come in the same way.

    python tools/prepare_fragments.py data/scannet/scans/* --out data/scannet/fragments --executor process

The lists of names are ScanNet's own (v2), in data/scannet.
"""

data_root = "data/scannet"

train_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="SceneOrderSampler", shuffle=True),
    dataset=dict(
        type="FragmentDataset",
        prepared=f"{data_root}/fragments",
        names=f"{data_root}/scannetv2_train.txt",
        window=dict(shape=(96, 96, 96), voxel_size=0.04, max_depth=3.0),
        size=(480, 640),
        read_tsdf=True,
    ),
)
