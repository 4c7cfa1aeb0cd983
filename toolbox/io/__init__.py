"""Bytes <-> arrays: file formats and atomic writes. Knows nothing of scenes or networks."""

from .atomic import atomic_path, write_json, write_text
from .cam_txt import CamFile, read_cam_txt, read_pair_txt, write_cam_txt, write_pair_txt
from .images import image_size, read_depth_png, read_image, write_depth_png, write_image
from .pfm import read_pfm, write_pfm
from .ply import read_ply, write_ply
from .weights import download_weights, is_address, read_weights

__all__ = [
    "CamFile",
    "atomic_path",
    "download_weights",
    "image_size",
    "is_address",
    "read_cam_txt",
    "read_depth_png",
    "read_image",
    "read_pair_txt",
    "read_pfm",
    "read_ply",
    "read_weights",
    "write_cam_txt",
    "write_depth_png",
    "write_image",
    "write_json",
    "write_pair_txt",
    "write_pfm",
    "write_ply",
    "write_text",
]
