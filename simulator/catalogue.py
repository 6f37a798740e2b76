"""Every fault of the simulator, by name.

Signatures follow measured faults where there are some: README.md says which. Rates are those of
training fleets, multiplied by `speed_up`.
"""

from simulator.engine_faults import ENGINE_FAULTS
from simulator.gpu_faults import GPU_FAULTS
from simulator.site_faults import NODE_FAULTS, POOL_FAULTS

CATALOGUE = {spec.name: spec for spec in (*GPU_FAULTS, *ENGINE_FAULTS, *NODE_FAULTS, *POOL_FAULTS)}
