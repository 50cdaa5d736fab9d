"""PyTorch's side of `race.py`: training steps of transformers' ALBERT, when asked to.

    torch_step.py small|base transformers|masked|compiled

`transformers` is the model's own loss, with the decoder at every position; `masked` gives the decoder the masked
positions alone; `compiled` is that under torch.compile.
"""

import json
import resource
import sys
import time

import torch
import torch.nn.functional as F
from transformers import AlbertConfig, AlbertForPreTraining

SHAPES = {
    "small": (dict(vocab_size=16000, hidden_size=384, num_hidden_layers=6, num_attention_heads=6, intermediate_size=1536), 32, 64),
    "base": (dict(vocab_size=30000, hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072), 8, 128),
}


def main():
    shape, kind = sys.argv[1:]
    fields, sequences, tokens = SHAPES[shape]
    torch.manual_seed(0)
    model = AlbertForPreTraining(AlbertConfig(**fields, embedding_size=128, classifier_dropout_prob=0.0)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    ids = torch.randint(5, fields["vocab_size"], (sequences, tokens))
    is_masked = torch.rand(sequences, tokens) < 0.15
    labels = torch.where(is_masked, ids, -100)
    inputs = torch.where(is_masked, 4, ids)
    types = (torch.arange(tokens) > tokens // 2).long().expand(sequences, tokens).contiguous()
    order = torch.arange(sequences) % 2
    positions = is_masked.flatten().nonzero().squeeze(1)
    answers = ids.flatten()[positions]

    def own_loss():
        return model(input_ids=inputs, token_type_ids=types, labels=labels, sentence_order_label=order).loss

    def masked_loss():
        output = model.albert(inputs, token_type_ids=types)
        logits = model.predictions(output[0].flatten(0, 1)[positions])
        return F.cross_entropy(logits, answers) + F.cross_entropy(model.sop_classifier(output[1]), order)

    loss_of = {"transformers": own_loss, "masked": masked_loss, "compiled": torch.compile(masked_loss)}[kind]

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of()
        loss.backward()
        optimizer.step()
        return loss.item()

    step()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        steps = int(line)
        start, processor = time.perf_counter(), time.process_time()
        for _ in range(steps):
            loss = step()
        print(json.dumps({
            "seconds": (time.perf_counter() - start) / steps,
            "processor_seconds": (time.process_time() - processor) / steps,
            "loss": loss,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }), flush=True)


main()
