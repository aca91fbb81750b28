"""Text towers like BERT and RoBERTa, which several families have beside the vision tower of CLIP."""

from __future__ import annotations

from typing import Any

from clipshelf.model.artifact import TextSpec

from clipshelf_export.checkpoints.tokenizer_files import TokenizerFile, check_ids, check_template
from clipshelf_export.checkpoints.torch_modules import ACTIVATIONS, bert_embedding, distilbert_layer, post_norm_layer
from clipshelf_export.checkpoints.towers import Linear, Norm, Transformer


def bert_tower(
    module: Any,
    config: Any,
    *,
    dim: int,
    projection: Linear | None,
    first_position: int = 0,
    final_norm: Norm | None = None,
) -> Transformer:
    """Translate a BERT or a RoBERTa whose first token becomes the embedding.

    - `module`: with `embeddings` and `encoder`.
    - `config`: of the text tower.
    - `dim`: D of the embedding.
    - `projection`, `final_norm`: applied to the first token, the norm first; None for none.
    - `first_position`: the row of the first token in the table of positions.
    """
    # transformers 5 calls the layers of some encoders `layers`
    encoder = module.encoder
    layers = encoder.layer if hasattr(encoder, "layer") else encoder.layers
    return Transformer(
        embedding=bert_embedding(module.embeddings, first_position),
        layers=[post_norm_layer(layer, config.hidden_act) for layer in layers],
        heads=config.num_attention_heads,
        activation=ACTIVATIONS[config.hidden_act],
        post_norm=True,
        causal=False,
        pooling="first",
        dim=dim,
        final_norm=final_norm,
        projection=projection,
    )


def distilbert_tower(module: Any, config: Any, *, dim: int, projection: Linear | None) -> Transformer:
    """Translate a DistilBERT whose first token becomes the embedding; parameters as in `bert_tower`."""
    return Transformer(
        embedding=bert_embedding(module.embeddings, 0),
        layers=[distilbert_layer(layer, config.activation) for layer in module.transformer.layer],
        heads=config.n_heads,
        activation=ACTIVATIONS[config.activation],
        post_norm=True,
        causal=False,
        pooling="first",
        dim=dim,
        projection=projection,
    )


def bert_text_spec(tokenizer: TokenizerFile, config: Any, positions: int, source: str) -> TextSpec:
    """Return the limits of a text tower like BERT. Raises ExportError where the tokenizer contradicts it.

    - `config`: of the text tower.
    - `positions`: the tokens that the tower has positions for.
    - `source`: names the checkpoint in messages.
    """
    bos, eos, pad = tokenizer.special_ids(source)
    check_ids(tokenizer, config.vocab_size, (bos, eos, pad))
    check_template(tokenizer, first=bos, last=eos, source=source)
    return TextSpec(tokenizer.with_limit(positions), pad, bos, eos, attention_mask=True)
