# What every run shares: logging, checkpoints, seeds, processes. Configs of runs counted in iterations also set
# by_epoch=False in default_hooks.checkpoint and log_processor.
default_scope = "toolbox"

default_hooks = dict(
    seed=dict(type="PositionSeedHook"),
    runtime_info=dict(type="RuntimeInfoHook"),
    timer=dict(type="IterTimerHook"),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    logger=dict(type="LoggerHook", interval=20),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="CheckpointHook", interval=1, max_keep_ckpts=3, save_best="depth/abs_rel", rule="less"),
    # Statistics of batch normalisation are averaged over processes before they are used or saved.
    sync_buffers=dict(type="SyncBuffersHook"),
    metrics_file=dict(type="MetricsFileHook", out_file="metrics.json"),
    pictures=dict(type="DepthPictureHook", max_pictures=4),
)

log_processor = dict(type="LogProcessor", window_size=20, by_epoch=True)
log_level = "INFO"
visualizer = dict(type="Visualizer", vis_backends=[dict(type="LocalVisBackend")])

# The communication backend follows the hardware: NCCL with GPUs, gloo without.
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
    dist_cfg=dict(timeout=1800),
)

randomness = dict(seed=0)
load_from = None
resume = False
