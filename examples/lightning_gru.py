"""Train a GRU with Lightning; the callback takes over the Trainer's gradient_clip_val.

    python examples/lightning_gru.py

The task is that of gru.py in small: of a sequence of 20 numbers, the sum of the two that are marked. The mean squared
error falls from 1/6, which predicting 1.0 always scores, to 0.001. It takes 8 s, half of them to import Lightning.
"""

from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from gradvitals.integrations.lightning import GradvitalsCallback

SEQUENCE_LENGTH = 20
BATCH_SIZE = 32
STEPS = 400
MAX_NORM = 0.5


class AddingGRU(lightning.LightningModule):
    """One GRU layer and a linear read-out of its last state."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(2, 32, batch_first=True)
        self.out = nn.Linear(32, 1)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """The squared error of one batch: pairs [batch, length, 2] and their sums [batch]."""
        pairs, sums = batch
        states, _ = self.gru(pairs)
        loss = nn.functional.mse_loss(self.out(states[:, -1]).squeeze(1), sums)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Fused, so that a clip costs no multiplication of its own."""
        return torch.optim.AdamW(self.parameters(), lr=0.01, fused=True)


def make_data(examples: int) -> TensorDataset:
    """Sequences in which one number of each half is marked, and the sums of the two."""
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(examples, SEQUENCE_LENGTH, generator=generator)
    half = SEQUENCE_LENGTH // 2
    first = torch.randint(0, half, (examples, 1), generator=generator)
    second = torch.randint(half, SEQUENCE_LENGTH, (examples, 1), generator=generator)
    marks = torch.zeros_like(values).scatter_(1, first, 1.0).scatter_(1, second, 1.0)
    return TensorDataset(torch.stack([values, marks], dim=-1), (values * marks).sum(dim=1))


def main(steps: int = STEPS, url: Any = None) -> None:
    """Train, and say how well it went."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    trainer = lightning.Trainer(
        max_steps=steps,
        gradient_clip_val=MAX_NORM,
        callbacks=[GradvitalsCallback(project="demo", name="gru by Lightning", config={"max_norm": MAX_NORM}, url=url)],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(AddingGRU(), DataLoader(make_data(STEPS * BATCH_SIZE), batch_size=BATCH_SIZE))
    print(f"the loss of the last step is {trainer.callback_metrics['loss']:.2g}")


if __name__ == "__main__":
    main()
