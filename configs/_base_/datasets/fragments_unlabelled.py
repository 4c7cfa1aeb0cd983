"""Fragments of ScanNet without their depth: none is opened in training; superpixels are computed once and kept.

python tools/prepare_fragments.py data/scannet/scans/* --out data/scannet/fragments --no-tsdf --executor process
"""

_base_ = ["./fragments.py"]

train_dataloader = dict(dataset=dict(read_tsdf=False, transforms=[dict(type="Superpixels")]))
