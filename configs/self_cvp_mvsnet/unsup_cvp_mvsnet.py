r"""Self-supervised CVP-MVSNet at the paper's size on DTU: trained without ground truth, then on its own labels.

    tools/dist_train.sh configs/self_cvp_mvsnet/unsup_cvp_mvsnet.py NPROC --work-dir work_dirs/start
    python tools/self_train.py configs/self_cvp_mvsnet/unsup_cvp_mvsnet.py --checkpoint work_dirs/start/epoch_40.pth \
        --work-dir work_dirs/self

The second command alone does both, the start in one process.
"""

_base_ = [
    "../_base_/unsupervised_runtime.py",
    "../_base_/models/cvp_mvsnet.py",
    "../_base_/datasets/dtu_unlabelled.py",
    "../_base_/schedules/cvp_mvsnet.py",
    "../_base_/losses/photometric.py",
    "../_base_/self_training/dtu.py",
]

model = dict(
    losses=dict(
        _delete_=True,
        **_base_.jdacs_ms_losses,
        # The paper's perceptual term, with torchvision's VGG-16 (docs/losses.md); its weight was not published:
        # perceptual=dict(type="PerceptualLoss", weights="checkpoints/vgg16-397923af.pth", num_sources=2),
    )
)

# The losses choose among the sources.
train_dataloader = dict(dataset=dict(num_sources=4))

self_training = dict(
    label_scenes=[dict(type="DTUTest", root=_base_.data_root, scan=scan, depth=False) for scan in _base_.train_scans],
    # The labels are learned from as depth is in the paper, with two sources.
    training=dict(train_dataloader=dict(dataset=dict(num_sources=2))),
)
