"""Step 0: a model whose mean-pooled output already is a good sentence vector.

    start.py --data DIR --work DIR     writes start.pt

1. Each piece's own teacher vector, weighted by a/(a + frequency) (SIF), is the first 384-wide table.
2. The table is regressed on the sentences' teacher vectors: the mean of a sentence's rows should point its way.
3. A weighted SVD cuts it to the coordinates that E leaves for words. A row is [z, √(R² − |z|²)]:
   with all rows of norm R, LayerNorm is one common factor and the rows keep their relative lengths.
4. Projection and layers start as an isometry of those rows, plus a small branch output, so L layers
   change them little. A constant μ, subtracted by each layer's last bias and given back by the attention's
   output bias, centers the mean of the rows without disturbing any LayerNorm.
5. The table is then trained some more in exactly this form, `[CLS]`, `[SEP]` and positions included.

Two attention heads start by looking at the previous and at the next token: positions are sinusoids in
coordinates of their own, and a rotation turns one position into its neighbor. The other two average the first
and the second segment, so that `[CLS]` can compare them. What the heads read is written to the H − E
coordinates that the pieces leave free. A random start spends much of a short run finding this out.
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from model import AlbertForPreTraining, Config
from quality import sts_spearman

SIF_A = 1e-3
#: Periods in tokens. Spaced unevenly: no two offsets below 512 look alike.
POSITION_PERIODS = (2.3, 3.1, 4.3, 6.1, 9.0, 14.0, 23.0, 40.0)
#: A quarter of the words' scale: positions hardly show in the pooled mean.
POSITION_SCALE = 0.25
#: Attention logit of a head for the token that it is made to look at; the average token gets 0.
NEIGHBOR_LOGIT = 8.0
#: Attention logit by which a head prefers one segment to the other.
SEGMENT_LOGIT = 4.0
#: Size of the attention's output relative to the residual stream.
BRANCH_SCALE = 0.3


def batches(count, size, epochs, seed):
    order = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        shuffled = torch.randperm(count, generator=order)
        yield from shuffled[: count // size * size].split(size)


def similarity_loss(vectors, teacher):
    """Squared error of the cosines between the sentences of a batch."""
    vectors = F.normalize(vectors, dim=-1)
    return F.mse_loss(vectors @ vectors.T, teacher @ teacher.T)


def regress_table(table, ids, teacher, epochs):
    """Steps 1 and 2: the free 384-wide table; the bag is a plain mean without special pieces."""
    bag = torch.nn.EmbeddingBag.from_pretrained(table, freeze=False, mode="mean", padding_idx=0)
    optimizer = torch.optim.Adam(bag.parameters(), lr=3e-3, betas=(0.9, 0.98))
    for batch in batches(len(ids), 1024, epochs, seed=1):
        rows = ids[batch].clone()
        rows[rows < 5] = 0
        loss = (1 - F.cosine_similarity(bag(rows), teacher[batch])).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"free table: loss {loss.item():.3f} at the end")
    return bag.weight.detach()


def orthonormal(rows, columns, seed, orthogonal_to=None):
    """A random `(rows, columns)` matrix with orthonormal columns, all orthogonal to `orthogonal_to`'s columns."""
    matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if orthogonal_to is not None:
        matrix = torch.cat([orthogonal_to.double(), matrix], 1)
    basis = torch.linalg.qr(matrix)[0]
    return basis[:, -columns:].float()


class Layout:
    """The use of E's directions: ones (unused, LayerNorm removes it), words, positions, type, filler."""

    def __init__(self, config: Config):
        width = config.embedding_size
        positions = 2 * len(POSITION_PERIODS)
        self.word_width = width - positions - 3
        basis = orthonormal(width, width - 1, seed=2, orthogonal_to=torch.ones(width, 1))
        self.words, self.positions, self.type, self.filler = basis.split([self.word_width, positions, 1, 1], 1)


def position_coordinates(count):
    """`(count, 2 × periods)`: cosine and sine of each period, each pair of norm 1."""
    angles = torch.arange(count)[:, None] * 2 * math.pi / torch.tensor(POSITION_PERIODS)
    return torch.stack([angles.cos(), angles.sin()], -1).flatten(1)


def shift(offset):
    """The rotation that takes position t to t + `offset`, `(2 × periods, 2 × periods)`."""
    blocks = []
    for period in POSITION_PERIODS:
        angle = offset * 2 * math.pi / period
        blocks.append(torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]))
    return torch.block_diag(*blocks)


@torch.no_grad()
def place_words(model, layout, table, frequency):
    """Step 3: rows of norm 1 from the free table."""
    # Not centered, and weighted by √frequency: 0.8025 of STS-B dev at 109 dimensions; centered and weighted by frequency, 0.7946.
    weight = frequency.pow(0.25)[:, None]
    directions = torch.linalg.svd(table * weight, full_matrices=False)[2][: layout.word_width]
    z = table @ directions.T
    z = z / (z.norm(dim=1).quantile(0.995) / 0.95)
    z = z * (0.95 / z.norm(dim=1, keepdim=True)).clamp(max=1)
    z[:5] = 0  # special pieces carry no meaning of their own
    filler = (1 - z.square().sum(1, keepdim=True)).sqrt()
    model.albert.embeddings.word_embeddings.weight.copy_(z @ layout.words.T + filler @ layout.filler.T)


@torch.no_grad()
def place_everything_else(model, layout, config):
    """Step 4, and the neighbor heads."""
    width, hidden = config.embedding_size, config.hidden_size
    embeddings, encoder, layer = model.albert.embeddings, model.albert.encoder, model.albert.encoder.layer
    pairs = len(POSITION_PERIODS)
    # Words have norm 1; `POSITION_SCALE` is relative to a word's share of the same coordinates.
    amplitude = POSITION_SCALE * math.sqrt(2 / width)
    embeddings.position_embeddings.weight.copy_(
        amplitude * position_coordinates(config.max_position_embeddings) @ layout.positions.T
    )
    embeddings.token_type_embeddings.weight.copy_(torch.tensor([[0.0], [0.3]]) @ layout.type.T)
    # After LayerNorm over E a row of norm n has norm √E, and the map takes it to √H: unit variance in H.
    used = orthonormal(hidden, width, seed=3, orthogonal_to=torch.ones(hidden, 1))  # (H, E)
    free = orthonormal(hidden, hidden - width - 1, seed=4, orthogonal_to=torch.cat([torch.ones(hidden, 1), used], 1))
    encoder.embedding_hidden_mapping_in.weight.copy_(used * math.sqrt(hidden / width))
    encoder.embedding_hidden_mapping_in.bias.zero_()

    heads, head_width = config.num_attention_heads, hidden // config.num_attention_heads
    row_norm = math.sqrt(1 + pairs * amplitude**2)
    position_norm = amplitude / row_norm * math.sqrt(hidden)  # of one pair, in H
    gain = math.sqrt(NEIGHBOR_LOGIT * math.sqrt(head_width) / pairs) / position_norm
    read_positions = gain * (used @ layout.positions).T  # (2 × periods, H)
    attention = layer.attention
    for linear in (attention.query, attention.key, attention.value, attention.dense, layer.ffn, layer.ffn_output):
        linear.bias.zero_()
    for head in range(heads):
        rows = slice(head * head_width, (head + 1) * head_width)
        for linear in (attention.query, attention.key):
            linear.weight[rows].normal_(std=0.02)
        if head < 2:
            attention.query.weight[rows] = F.pad(
                shift(-1 if head == 0 else 1) @ read_positions, (0, 0, 0, head_width - 2 * pairs)
            )
            attention.key.weight[rows] = F.pad(read_positions, (0, 0, 0, head_width - 2 * pairs))
        words = used @ layout.words @ orthonormal(layout.word_width, head_width, seed=10 + head)
        attention.value.weight[rows] = words.T
        attention.dense.weight[:, rows] = BRANCH_SCALE * free @ orthonormal(free.shape[1], head_width, seed=20 + head)
    point_at_segment(model, 2, -SEGMENT_LOGIT)
    point_at_segment(model, 3, SEGMENT_LOGIT)
    layer.ffn.weight.normal_(std=0.7 / math.sqrt(hidden))
    layer.ffn_output.weight.normal_(std=0.1 / math.sqrt(config.intermediate_size))
    model.predictions.dense.weight.normal_(std=1 / math.sqrt(hidden))
    model.albert.pooler.weight.normal_(std=1 / math.sqrt(hidden))
    model.sop_classifier.classifier.weight.normal_(std=0.02)
    for linear in (model.predictions.dense, model.albert.pooler, model.sop_classifier.classifier):
        linear.bias.zero_()


@torch.no_grad()
def point_at_segment(model, head, logit):
    """Makes a head prefer tokens of type 1 by `logit` (avoid them, if negative); one segment alone it averages."""
    embeddings, encoder = model.albert.embeddings, model.albert.encoder
    attention = encoder.layer.attention
    types = embeddings.token_type_embeddings.weight
    # The effect of a type of 1 in H; LayerNorm multiplies rows of norm about 1 by √E.
    step = (types[1] - types[0]) * embeddings.LayerNorm.weight * math.sqrt(types.shape[1])
    step = encoder.embedding_hidden_mapping_in.weight @ step
    row = head * (attention.query.out_features // attention.heads)
    # The logit is the product of the two over √D; both factors stay within what f16 and the optimizer like.
    product = logit * math.sqrt(attention.query.out_features / attention.heads)
    attention.key.weight[row] = math.sqrt(abs(product)) * step / step.square().sum()
    attention.query.weight[row] = 0
    attention.query.bias[row] = math.copysign(math.sqrt(abs(product)), product)


def bag(model, ids):
    """Mean of the projected embeddings: the encoder with L = 0, and with the branches at 0 any L."""
    embeddings = model.albert.embeddings
    rows, columns = ids.nonzero(as_tuple=True)
    embedded = embeddings.LayerNorm(
        embeddings.word_embeddings(ids[rows, columns])
        + embeddings.token_type_embeddings.weight[0]
        + embeddings.position_embeddings(columns)
    )
    total = embedded.new_zeros(len(ids), embedded.shape[1]).index_add(0, rows, embedded)
    # The projection is linear: it may come after the mean.
    return model.albert.encoder.embedding_hidden_mapping_in(total / (ids != 0).sum(1, keepdim=True))


@torch.no_grad()
def fitted_projection(vectors, teacher):
    """The training-only map from sentence vectors `(N, H)` to the teacher's `(N, 384)`, by least squares."""
    projection = torch.nn.Linear(vectors.shape[1], teacher.shape[1])
    vectors = (vectors - vectors.mean(0)).double()
    # Ridge: without it, directions that words do not use get the largest weights, and training blows them up.
    gram = vectors.T @ vectors + 1e-3 * len(vectors) * torch.eye(vectors.shape[1])
    solution = torch.linalg.solve(gram, vectors.T @ teacher.double())
    # Only its direction counts in a cosine; at this size, Adam's steps are small compared with it.
    projection.weight.copy_(0.1 * (solution / solution.square().mean().sqrt()).T)
    projection.bias.zero_()
    return projection


def refine(model, projection, ids, teacher, epochs):
    """Step 5: the table and the training-only projection H → 384; everything else stays.

    μ is the batch's own mean while the rows move: as a parameter it could not follow them fast enough.
    """
    table = model.albert.embeddings.word_embeddings.weight
    count = epochs * (len(ids) // 1024)
    groups = [{"params": [table], "lr": 1e-3}, {"params": projection.parameters(), "lr": 1e-4}]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / count)
    start = time.time()
    for step, batch in enumerate(batches(len(ids), 1024, epochs, seed=5)):
        vectors = bag(model, ids[batch])
        vectors = vectors - vectors.mean(0)
        cosine = F.cosine_similarity(projection(vectors), teacher[batch]).mean()
        loss = 1 - cosine + 10 * similarity_loss(vectors, teacher[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            # LayerNorm ignores a row's mean and, except for the positions added to it, its norm:
            # keep 0 and 1.
            table.sub_(table.mean(1, keepdim=True))
            table.div_(table.norm(dim=1, keepdim=True))
        if step % 100 == 0:
            print(f"step {step} of {count}: loss {loss.item():.4f}, cosine {cosine.item():.4f}, {time.time() - start:.0f} s", flush=True)
    with torch.no_grad():
        mu = bag(model, ids[:20000]).mean(0)
        encoder = model.albert.encoder
        encoder.embedding_hidden_mapping_in.bias.copy_(-mu)
        encoder.layer.attention.dense.bias.copy_(mu)
        encoder.layer.full_layer_layer_norm.bias.copy_(-mu)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with eval/")
    parser.add_argument("--work", type=Path, required=True, help="folder for intermediate files")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=3, help="passes over the sentences in step 5")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(f"torch {torch.__version__}, numpy {np.__version__}")
    torch.manual_seed(args.seed)

    ids = torch.from_numpy(np.load(args.work / "sentences.u16.npy").astype(np.int64))
    teacher = torch.from_numpy(np.load(args.work / "sentences.f16.npy").astype(np.float32))
    ids, teacher = ids[2000:], teacher[2000:]  # the first 2,000 are held out
    pieces = torch.from_numpy(np.load(args.work / "pieces.f16.npy").astype(np.float32))
    config = Config(vocab_size=len(pieces), num_hidden_layers=args.layers, hidden_size=args.hidden)

    counts = torch.bincount(ids[ids >= 5], minlength=len(pieces)).float()
    frequency = (counts + 0.5) / (counts + 0.5).sum()
    table = regress_table(pieces * (SIF_A / (SIF_A + frequency))[:, None], ids, teacher, epochs=2)

    model = AlbertForPreTraining(config)
    layout = Layout(config)
    place_words(model, layout, table, frequency)
    place_everything_else(model, layout, config)
    windows = np.load(args.work / "windows.u16.npy")
    counts = np.bincount(windows[windows >= 5], minlength=len(pieces))
    with torch.no_grad():
        # The decoder's bias starts as the unigram model: the first thing that a masked model learns.
        model.predictions.bias.copy_(torch.from_numpy(np.log((counts + 0.5) / (counts.sum() + 0.5 * len(counts)))))

    with torch.no_grad():
        projection = fitted_projection(bag(model, ids[:20000]), teacher[:20000])
    refine(model, projection, ids, teacher, args.epochs)
    torch.save({"config": vars(config), "model": model.state_dict(), "projection": projection.state_dict()}, args.work / "start.pt")
    print(f"start.pt: STS-B dev Spearman {sts_spearman(model, args.data, args.work):.4f}")


if __name__ == "__main__":
    main()
