"""The canonical form of a layout, from which its id follows, and in which it is stored. Pure."""

import hashlib
from collections.abc import Sequence

import msgspec
import zstandard

from gradvitals_service.runs.schemas import LayerDeclaration

# A layout's body is at most 32 MiB of JSON, and its canonical form is shorter.
_MOST_BYTES = 64 * 2**20


class _Canonical(msgspec.Struct, array_like=True):
    name: str
    module: str
    shape: list[int]
    numel: int
    dtype: str
    parameter_group: int
    trainable: bool


class _Named(msgspec.Struct, array_like=True):
    """The same, of which only the name is read."""

    name: str


def canonical_form(layers: Sequence[LayerDeclaration]) -> bytes:
    """MessagePack, smallest encodings, of the array of arrays that docs/wire.md names."""
    return msgspec.msgpack.encode(
        [
            (
                layer.name,
                layer.module,
                layer.shape,
                layer.numel,
                layer.dtype,
                layer.parameter_group,
                layer.trainable,
            )
            for layer in layers
        ]
    )


def layout_id(layers: Sequence[LayerDeclaration]) -> str:
    """The hex BLAKE2b-128 of the canonical form."""
    return hashlib.blake2b(canonical_form(layers), digest_size=16).hexdigest()


def pack_layers(layers: Sequence[LayerDeclaration]) -> bytes:
    """What is stored: the canonical form, compressed."""
    return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(canonical_form(layers))


def unpack_layers(stored: bytes) -> list[LayerDeclaration]:
    """Read a stored layout back."""
    rows = msgspec.msgpack.decode(_unpacked(stored), type=list[_Canonical])
    return [LayerDeclaration(*msgspec.structs.astuple(row)) for row in rows]


def unpack_names(stored: bytes) -> list[str]:
    """Only the names of a stored layout's layers."""
    return [row.name for row in msgspec.msgpack.decode(_unpacked(stored), type=list[_Named])]


def _unpacked(stored: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(stored, max_output_size=_MOST_BYTES)
