"""All weights shared among the processes of a run, by torch's FSDP2: each keeps its part, and gathers a block for use.

What is written to a checkpoint is gathered, so that a checkpoint is the same whoever wrote it: a run may go on with
another number of processes, or without sharing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from accelerate import Accelerator


def spread(network: nn.Module, accelerator: Accelerator, *, shard: bool) -> nn.Module:
    """Bring a network to a process's device and prepare it for several processes, in place.

    Args:
        network: what trains asks for gradients.
        accelerator: device and processes.
        shard: whether processes share all weights; else each keeps a copy, as DDP does, and swapped blocks stay where
            they are.

    Returns:
        The network, as it is called in training. Its parameters are others than before where they are shared.

    Raises:
        ValueError: if accelerate's own configuration asks for FSDP.
    """
    from accelerate.utils import DistributedType

    if accelerator.distributed_type == DistributedType.FSDP:
        raise ValueError(
            "accelerate's configuration asks for FSDP, with which this trainer's checkpoints cannot be written: launch "
            "without it, by accelerate launch --multi_gpu, and set [memory] shard = true."
        )
    network.to(accelerator.device)
    if shard:
        _shard(network, accelerator)
        return network
    # All processes read frozen weights from the same file: DDP need neither compare them nor have them on the card.
    frozen = [name for name, value in network.named_parameters() if not value.requires_grad]
    nn.parallel.DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(network, frozen)
    return accelerator.prepare(network)


def is_shared(value: Tensor) -> bool:
    """Whether a tensor's parts lie with several processes."""
    return hasattr(value, "full_tensor")


def gathered(value: Tensor) -> Tensor:
    """Return a whole tensor, on the CPU where it was shared; all processes have to ask for it."""
    return value.detach().full_tensor().cpu() if is_shared(value) else value  # ty: ignore[call-non-callable]


def divided_like(value: Tensor, other: Tensor) -> Tensor:
    """Return a whole tensor as another of its shape is: shared alike; all processes have to ask for it."""
    if not is_shared(other) or value.shape != other.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(other.device), other.device_mesh, other.placements)  # ty: ignore


def _shard(network: nn.Module, accelerator: Accelerator) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    transformer = getattr(network, "transformer", None)
    for block in [] if transformer is None else transformer.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh)
