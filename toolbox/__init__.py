"""SelfRecon Toolbox: 3D reconstruction networks that learn without ground truth.

The floors, from the bottom (imports only ever point down): ``io``, ``geometry`` and the registries; ``structures``;
``fusion`` and ``visualization``; ``models``, ``datasets`` and ``evaluation``; ``engine``; ``pipelines`` and ``apis``.
"""

__version__ = "0.1.0"
