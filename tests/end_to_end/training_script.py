"""A user's training script, run by the delivery tests as a process of its own.

Arguments: the number of steps, the steps at which to wait for a line on standard input, and where to leave what it saw.
"""

import json
import sys
from pathlib import Path

import torch

import gradvitals

steps, pauses, out = int(sys.argv[1]), {int(step) for step in sys.argv[2].split(",") if step}, Path(sys.argv[3])

torch.manual_seed(0)
torch.set_num_threads(1)
model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

run = gradvitals.init(project="end-to-end", name="delivery")
monitor = run.watch(model, optimizer, max_norm=0.5)
norms, losses = [], []
for step in range(steps):
    if step in pauses:
        print(f"waiting at {step}", flush=True)
        sys.stdin.readline()
    inputs = torch.randn(16, 8)
    loss = (model(inputs) - inputs.sum(dim=1, keepdim=True)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    norms.append(torch.stack([p.grad.double().norm() for p in model.parameters()]).norm().item())
    losses.append(loss.item())
    run.log(loss=loss)
    optimizer.step()
run.finish()
out.write_text(json.dumps({"norms": norms, "losses": losses, "url": run.url}))
