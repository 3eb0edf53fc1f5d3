"""A loop of one's own with Accelerate, four batches a step: no callback, only watch, and no clip_grad_norm_.

    python examples/accelerate_loop.py

Two half circles of points are told apart. It takes 4 s, half of them to import torch and Accelerate.
"""

import math
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import gradvitals

STEPS = 250
BATCHES_A_STEP = 4
MAX_NORM = 0.1


def make_data(examples: int) -> TensorDataset:
    """Points on two half circles that reach into each other, with some noise; which half is the label."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (examples,), generator=generator).float()
    angle = math.pi * torch.rand(examples, generator=generator)
    side = 1 - 2 * labels
    points = torch.stack([angle.cos() * side + labels, angle.sin() * side + labels / 2], dim=1)
    return TensorDataset(points + 0.1 * torch.randn(examples, 2, generator=generator), labels)


def main(steps: int = STEPS, url: Any = None) -> None:
    """Train, and print the loss every 50 steps."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=BATCHES_A_STEP)
    model: nn.Module = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    loader = DataLoader(make_data(32 * BATCHES_A_STEP * steps), batch_size=32)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)

    with gradvitals.init(project="demo", name="half circles by Accelerate", url=url) as run:
        run.watch(model, optimizer, max_norm=MAX_NORM, scaler=accelerator.scaler)
        for points, labels in loader:
            with accelerator.accumulate(model):
                logits: Tensor = model(points)
                loss = nn.functional.binary_cross_entropy_with_logits(logits.squeeze(1), labels)
                accelerator.backward(loss)
                run.log(loss=loss)
                optimizer.step()
                optimizer.zero_grad()
                if accelerator.sync_gradients and run.step % 50 == 0:
                    print(f"step {run.step}: loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
