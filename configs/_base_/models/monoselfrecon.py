"""MonoSelfRecon at the paper's size (Li et al., CVPRW 2024), as it learns without known depth, with corrected numerics.

NeuralRecon's coarse-to-fine network with a ResNet-18, attention over the views, voxels kept by their distance to the
surface, and a multiplane image beside the volume. Lists of levels are finest first.
"""

_base_ = ["./neuralrecon.py"]

model = dict(
    backbone=dict(
        _delete_=True,
        type="ResNet18FPN",
        weights="https://download.pytorch.org/models/resnet18-f37072fd.pth",
    ),
    neck=dict(
        back_projection=dict(view_fusion=dict(type="AttentionViewFusion")),
        sparsifier=dict(_delete_=True, type="TSDFBand", threshold=0.3),
    ),
    heads=dict(_delete_=True, tsdf=dict(type="TSDFHead"), mpi=dict(type="MPIHead")),
)
