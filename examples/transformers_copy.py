"""Train a small GPT-2 with the Trainer of Transformers; the callback takes over its max_grad_norm.

    python examples/transformers_copy.py

The model has to say a random sequence of 8 tokens a second time; nothing is downloaded. The loss falls from ln 16 = 2.8
to 1.5, and not to 0, since the first 8 tokens can only be guessed. It takes 7 s, half of them to import Transformers.
"""

import tempfile
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from gradvitals.integrations.transformers import GradvitalsCallback

TOKENS = 16
LENGTH = 8
STEPS = 200


def make_data(examples: int) -> list[dict[str, Any]]:
    """Sequences that are said twice."""
    generator = torch.Generator().manual_seed(0)
    said_twice = torch.randint(0, TOKENS, (examples, LENGTH), generator=generator).repeat(1, 2)
    return [{"input_ids": tokens, "labels": tokens} for tokens in said_twice]


def main(steps: int = STEPS, url: Any = None) -> None:
    """Train, and print the loss every 50 steps."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=TOKENS, n_positions=2 * LENGTH, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=steps,
            max_grad_norm=0.5,
            per_device_train_batch_size=32,
            learning_rate=5e-3,
            logging_steps=50,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        )
        trainer = Trainer(GPT2LMHeadModel(config), arguments, train_dataset=make_data(32 * STEPS))
        trainer.add_callback(GradvitalsCallback(trainer, project="demo", name="copying by Transformers", url=url))
        trainer.train()


if __name__ == "__main__":
    main()
