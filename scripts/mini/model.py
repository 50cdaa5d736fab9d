"""ALBERT for pre-training in plain PyTorch, with the parameter names of transformers' AlbertForPreTraining.

B batch, T tokens, V vocabulary, E embedding, H hidden, I intermediate, N heads, D = H/N, L layers, P masked positions.
One layer's parameters are used L times; there is no dropout. A state dict is therefore a checkpoint as it is.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Config:
    vocab_size: int = 16_000
    embedding_size: int = 128
    hidden_size: int = 256
    intermediate_size: int = 1024
    num_attention_heads: int = 4
    num_hidden_layers: int = 4
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12


class Embeddings(nn.Module):
    """Sum of piece, type and position rows, normalized: `(B, T)` ids to `(B, T, E)`."""

    def __init__(self, config: Config):
        super().__init__()
        width = config.embedding_size
        self.word_embeddings = nn.Embedding(config.vocab_size, width)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, width)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width)
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)

    def forward(self, ids, type_ids):
        positions = self.position_embeddings.weight[: ids.shape[1]]  # (T, E)
        return self.LayerNorm(self.word_embeddings(ids) + self.token_type_embeddings(type_ids) + positions)


class Attention(nn.Module):
    """`LayerNorm(x + softmax(Q Kᵀ / √D + mask) V Wₒ + bₒ)`: `(B, T, H)` to `(B, T, H)`."""

    def __init__(self, config: Config):
        super().__init__()
        self.heads = config.num_attention_heads
        width = config.hidden_size
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.dense = nn.Linear(width, width)
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)

    def forward(self, hidden, mask):
        def split(projected):
            return projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, N, T, D)

        # Written out: on a CPU, the backward pass of PyTorch's fused attention is slower than these two products.
        query, key, value = split(self.query(hidden)), split(self.key(hidden)), split(self.value(hidden))
        scores = query @ key.mT * query.shape[-1] ** -0.5  # (B, N, T, T)
        if mask is not None:
            scores = scores + mask.to(scores.dtype)
        context = scores.softmax(-1) @ value
        return self.LayerNorm(hidden + self.dense(context.transpose(1, 2).flatten(2)))


class Layer(nn.Module):
    """Attention, then `LayerNorm(a + W₂ gelu_new(W₁ a + b₁) + b₂)`."""

    def __init__(self, config: Config):
        super().__init__()
        self.full_layer_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = Attention(config)
        self.ffn = nn.Linear(config.hidden_size, config.intermediate_size)
        self.ffn_output = nn.Linear(config.intermediate_size, config.hidden_size)

    def feed_forward(self, attended):
        # gelu_new is the tanh approximation.
        return self.full_layer_layer_norm(attended + self.ffn_output(F.gelu(self.ffn(attended), approximate="tanh")))

    def forward(self, hidden, mask):
        return self.feed_forward(self.attention(hidden, mask))


class LayerGroup(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.albert_layers = nn.ModuleList([Layer(config)])


class Encoder(nn.Module):
    """Projection E to H, then the shared layer L times."""

    def __init__(self, config: Config):
        super().__init__()
        self.num_hidden_layers = config.num_hidden_layers
        self.embedding_hidden_mapping_in = nn.Linear(config.embedding_size, config.hidden_size)
        self.albert_layer_groups = nn.ModuleList([LayerGroup(config)])

    @property
    def layer(self) -> Layer:
        return self.albert_layer_groups[0].albert_layers[0]

    def forward(self, embedded, mask, positions=None):
        """`(B, T, H)`; with `positions`, a pair of index tensors, only those of the last state: `(P, H)`."""
        hidden = self.embedding_hidden_mapping_in(embedded)  # (B, T, H)
        for _ in range(self.num_hidden_layers - 1):
            hidden = self.layer(hidden, mask)
        attended = self.layer.attention(hidden, mask)
        # The last feed-forward is two thirds of a layer and needed only where a head reads.
        return self.layer.feed_forward(attended if positions is None else attended[positions])


class Albert(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        self.pooler = nn.Linear(config.hidden_size, config.hidden_size)


class MaskedLanguageModelHead(nn.Module):
    """`LayerNorm(gelu_new(W h + b)) Eᵀ + bias`, with the piece embeddings as decoder."""

    def __init__(self, config: Config):
        super().__init__()
        self.LayerNorm = nn.LayerNorm(config.embedding_size, eps=config.layer_norm_eps)
        self.dense = nn.Linear(config.hidden_size, config.embedding_size)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, hidden, word_embeddings):
        transformed = self.LayerNorm(F.gelu(self.dense(hidden), approximate="tanh"))
        return F.linear(transformed, word_embeddings, self.bias)


class SentenceOrderHead(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.classifier = nn.Linear(config.hidden_size, 2)

    def forward(self, pooled):
        return self.classifier(pooled)


class AlbertForPreTraining(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.albert = Albert(config)
        self.predictions = MaskedLanguageModelHead(config)
        self.sop_classifier = SentenceOrderHead(config)

    def hidden(self, ids, type_ids=None, positions=None):
        """The last hidden state `(B, T, H)`, or `(P, H)` at `positions` only; id 0 is padding."""
        if type_ids is None:
            type_ids = torch.zeros_like(ids)
        kept = ids != 0
        mask = None if bool(kept.all()) else torch.zeros(ids.shape, device=ids.device).masked_fill(~kept, -torch.inf)[:, None, None]
        return self.albert.encoder(self.albert.embeddings(ids, type_ids), mask, positions)

    def masked_logits(self, hidden):
        """Logits `(…, V)` of hidden states `(…, H)`."""
        return self.predictions(hidden, self.albert.embeddings.word_embeddings.weight)

    def order_logits(self, hidden):
        """`(B, 2)` of the states at `[CLS]`, `(B, H)`: class 0 in order, 1 swapped."""
        return self.sop_classifier(torch.tanh(self.albert.pooler(hidden)))

    def sentence_vectors(self, ids):
        """Mean over every token that is not padding, `[CLS]` and `[SEP]` included, not normalized: `(B, H)`."""
        kept = (ids != 0).unsqueeze(-1)
        return (self.hidden(ids) * kept).sum(1) / kept.sum(1)
