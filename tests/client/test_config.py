"""A person's config as JSON, without secrets."""

from __future__ import annotations

import argparse
import dataclasses
import enum
import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from gradvitals.config import clean_config, clean_links, looks_secret


@dataclasses.dataclass
class Optimizer:
    lr: float = 0.5
    betas: tuple[float, float] = (0.9, 0.99)


class Schedule(enum.Enum):
    COSINE = "cosine"


class Rude:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "cleaned"),
    [
        ({"lr": 0.5, "steps": 10, "amp": True, "note": None}, {"lr": 0.5, "steps": 10, "amp": True, "note": None}),
        (argparse.Namespace(lr=0.5), {"lr": 0.5}),
        (Optimizer(), {"lr": 0.5, "betas": [0.9, 0.99]}),
        ({"optimizer": Optimizer(lr=1.0)}, {"optimizer": {"lr": 1.0, "betas": [0.9, 0.99]}}),
        ({"schedule": Schedule.COSINE}, {"schedule": "cosine"}),
        ({"data": Path("/data/text")}, {"data": "/data/text"}),
        ({"lr": np.float64(0.5), "n": np.int64(3), "t": torch.tensor(2.0)}, {"lr": 0.5, "n": 3, "t": 2.0}),
        ({"clip": math.inf, "nothing": math.nan}, {"clip": "Infinity", "nothing": "NaN"}),
        ({"seed": 2**70}, {"seed": str(2**70)}),
        ({"key": 10**5000}, {"key": "<int>"}),  # Python refuses to write it out
        ({3: "three", "text": "a\0b\ud800"}, {"3": "three", "text": "a\ufffdb?"}),
        ({"model": Rude()}, {"model": "<Rude>"}),
        ([1, 2], {"config": [1, 2]}),
    ],
)
def test_what_a_config_becomes(value, cleaned):
    assert clean_config(value) == cleaned
    assert msgspec.json.decode(msgspec.json.encode(clean_config(value))) == cleaned


def test_a_config_that_holds_itself_ends():
    config: dict[str, object] = {}
    config["self"] = config
    assert len(msgspec.json.encode(clean_config(config))) < 1000


def test_a_large_config_is_cut():
    assert len(clean_config({str(key): 1 for key in range(5000)})) == 1000
    assert len(clean_config({"text": "x" * 100_000})["text"]) == 4096


@pytest.mark.parametrize("leaf", [1, "x" * 4000, "\x01" * 4000])
def test_a_config_of_many_levels_is_cut_to_what_the_service_takes(leaf):
    wide = {str(key): leaf for key in range(1000)}
    config = {"lr": 0.5, **{f"table {k}": [wide] * 1000 for k in range(900)}}  # 900 million values
    cleaned = clean_config(config)
    assert cleaned["lr"] == 0.5
    assert len(msgspec.json.encode(cleaned)) < 4 << 20


@pytest.mark.parametrize(
    "key",
    ["password", "db_password", "hf_token", "HF_TOKEN", "apiKey", "api_key", "aws_secret_access_key", "AUTH", "token"],
)
def test_a_key_that_names_a_secret(key):
    assert looks_secret(key)
    assert clean_config({"nested": {key: "hunter2"}}) == {"nested": {key: "[redacted]"}}


@pytest.mark.parametrize(
    "key", ["max_tokens", "pad_token", "eos_token_id", "tokenizer", "monkey", "key", "author", "n_secretaries"]
)
def test_a_key_that_only_looks_like_one(key):
    assert clean_config({key: "x"}) == {key: "x"}


def test_a_password_in_an_address_is_left_out():
    assert clean_config({"db": "postgres://ada:hunter2@host/x"}) == {"db": "postgres://[redacted]@host/x"}


def test_a_password_in_a_link_is_not_sent():
    assert clean_links({"wandb": "https://ada:hunter2@w.example"}) == {"wandb": "https://[redacted]@w.example"}


def test_links_are_addresses_that_a_page_may_show():
    assert clean_links({"wandb": "https://w.example/1", "evil": "javascript:alert(1)", "broken": "http://[x"}) == {
        "wandb": "https://w.example/1"
    }
