"""Hugging Face models: loading, tokens and embeddings of texts. Code that comes with a model is not executed."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmim_example.reading import DataError, DataWarning

#: Seconds to wait for the model hub.
_TIMEOUT = 10
#: Share of unknown tokens from which a tokenizer seems to be made for another language.
_MANY_UNKNOWN = 0.5


def require(pretrained: str) -> None:
    """Check that a model can be loaded, without loading its weights.

    Raises:
        ImportError, ValueError: as :func:`load_transformer`.
    """
    _from_pretrained("AutoConfig", pretrained)


def load_transformer(pretrained: str) -> Any:
    """Load a Hugging Face model by directory or name.

    Raises:
        ImportError: without the package ``transformers``.
        ValueError: if the model cannot be loaded.
    """
    return _from_pretrained("AutoModel", pretrained)


def _from_pretrained(kind: str, pretrained: str) -> Any:
    """The local copy; without one, the hub is asked once first, because ``transformers`` repeats for a minute."""
    try:
        import transformers  # noqa: PLC0415 - an extra, and slow to import
        from huggingface_hub import HfApi  # noqa: PLC0415
    except ImportError:
        raise ImportError("text encoders need the package transformers: pip install 'infomax[mmim]'") from None
    load = getattr(transformers, kind).from_pretrained
    try:
        return load(pretrained, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError) as error:
        if Path(pretrained).is_dir():
            raise ValueError(f"pretrained must be the directory of a model; got {pretrained!r}: {error}") from None
    try:
        HfApi().model_info(pretrained, timeout=_TIMEOUT)
        return load(pretrained, trust_remote_code=False)
    except Exception as error:  # of the network, whose library depends on the version
        raise ValueError(
            f"pretrained must be the directory or name of a model; got {pretrained!r}, which is not here and cannot be "
            f"loaded from the model hub ({' '.join(str(error).split())[:200]}). Without a network, give the "
            "directory of a copy: modalities.text.pretrained=DIRECTORY"
        ) from None


def tokenize(texts: Sequence[str], pretrained: str, *, most: int = 50) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Tokenize texts with the model's own tokenizer, truncated and padded to ``most`` tokens: ``(N, 3, most)``.

    Raises:
        DataError: if the tokenizer knows no word of the texts. If it knows few, a warning says so.
        ImportError, ValueError: as :func:`load_transformer`.
    """
    tokenizer = _from_pretrained("AutoTokenizer", pretrained)
    made = tokenizer(list(texts), max_length=most, truncation=True, padding="max_length", return_token_type_ids=True)
    ids = np.asarray(made["input_ids"])
    unknown = ids == (-1 if tokenizer.unk_token_id is None else tokenizer.unk_token_id)
    share = unknown.sum() / max(1, (unknown | ~np.isin(ids, tokenizer.all_special_ids)).sum())
    if share > _MANY_UNKNOWN:
        advice = "use a model of this language, as bert-base-chinese for Chinese: modalities.text.pretrained=NAME"
        message = f"the tokenizer of {pretrained} must know the words of the texts; got {share:.0%} unknown: {advice}"
        if share == 1:
            raise DataError(message)
        warnings.warn(message, DataWarning, stacklevel=2)
    return np.stack([ids, *(np.asarray(made[key]) for key in ("attention_mask", "token_type_ids"))], 1)


@torch.no_grad()
def embed(texts: Sequence[str], pretrained: str, *, pooling: str = "mean", batch: int = 64) -> Tensor:
    """Embeddings of texts by a frozen model, ``(N, D)``, to be stored with the data and used as vectors.

    Raises:
        DataError, ImportError, ValueError: as :func:`tokenize`.
    """
    model = load_transformer(pretrained).eval()
    tokens = torch.from_numpy(tokenize(texts, pretrained, most=128))
    blocks = []
    for block in torch.split(tokens, batch):
        longest = int(block[:, 1].sum(1).max())
        blocks.append(pooled(model, block[:, :, :longest], pooling))
    return torch.cat(blocks)


def pooled(model: Any, tokens: Tensor, pooling: str) -> Tensor:
    """The last layer at the first token, or its mean over tokens that are not padding: ``(B, width)``."""
    ids, mask, types = tokens.unbind(1)
    if pooling == "first":  # attention over no token would be NaN
        mask = torch.cat([torch.ones_like(mask[:, :1]), mask[:, 1:]], 1)
    accepts_types = getattr(model.config, "type_vocab_size", 0)
    extra = {"token_type_ids": types} if accepts_types else {}
    states: Tensor = model(input_ids=ids, attention_mask=mask, **extra).last_hidden_state
    if pooling == "first":
        return states[:, 0]
    weights = mask.unsqueeze(-1).to(states)
    return (states * weights).sum(1) / weights.sum(1).clamp_min(1)
