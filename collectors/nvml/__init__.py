"""GPUs as the driver's own library reports them: NVML and its GPM profiling metrics, without DCGM.

`port` is what a reader of GPUs can do, `library` the one over the vendor's binding (the only module
that loads it), `rates` what is read how often, `device` one GPU's rounds, `watch` the deadline over
calls that hang, `labels` the exporter's names, `xids` the event set, `collector` the whole.
"""
