"""`finetune.train … optim.fsdp=true` on the processes of a CPU, under torchrun.

accelerate shards over GPUs only, and the verb refuses FSDP without one: here the first is told that
each process is a GPU's, and the second loads the base as it does for one device.
"""

from dataclasses import replace

from accelerate.state import PartialState
from accelerate.utils import DistributedType

from finetune import adapt
from finetune.train import main

begin, load_base = PartialState.__init__, adapt.load_base


def begin_as_a_gpu(self, *args, **kwargs):
    begin(self, *args, **kwargs)
    if self._shared_state["distributed_type"] == DistributedType.MULTI_CPU:
        self._shared_state["distributed_type"] = DistributedType.MULTI_GPU


if __name__ == "__main__":
    PartialState.__init__ = begin_as_a_gpu
    adapt.load_base = lambda config: load_base(
        replace(config, optim=replace(config.optim, fsdp=False))
    )
    main()
