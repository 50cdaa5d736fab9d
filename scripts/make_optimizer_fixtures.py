"""Writes the trajectories that the optimizers and schedules of albert-train are tested against.

AdamW: torch.optim.AdamW in float32, 50 steps. LAMB: google-research/albert's lamb_optimizer.py in
float64. Muon: the formula of torch.optim.Muon (Nesterov, match_rms_adamw) in float64, and for
comparison torch's own, which rounds to bfloat16.

    python scripts/make_optimizer_fixtures.py

writes crates/albert-train/tests/fixtures/optimizers.safetensors and prints the schedules.
"""

import math
import sys

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file
from transformers import optimization

STEPS = 50
SHAPES = {"layer.weight": (5, 7), "layer.LayerNorm.weight": (7,), "layer.bias": (5,)}
DECAYS = {"layer.weight"}
RATE, DECAY = 1e-2, 0.1


def lamb(weights, gradients):
    """google-research/albert b772393, lamb_optimizer.py, apply_gradients."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}
    m = {name: np.zeros_like(value) for name, value in w.items()}
    v = {name: np.zeros_like(value) for name, value in w.items()}
    for step in gradients:
        for name, gradient in step.items():
            m[name] = 0.9 * m[name] + 0.1 * gradient
            v[name] = 0.999 * v[name] + 0.001 * np.square(gradient)
            update = m[name] / (np.sqrt(v[name]) + 1e-6)
            ratio = 1.0
            if name in DECAYS:
                update += DECAY * w[name]
                w_norm, u_norm = np.linalg.norm(w[name]), np.linalg.norm(update)
                ratio = w_norm / u_norm if w_norm > 0 and u_norm > 0 else 1.0
            w[name] = w[name] - ratio * RATE * update
    return w


def orthogonalized(x):
    a, b, c = 3.4445, -4.7750, 2.0315
    is_tall = x.shape[0] > x.shape[1]
    x = x.T if is_tall else x
    x = x / max(np.linalg.norm(x), 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if is_tall else x


def muon(weight, gradients):
    """PyTorch 2.15, torch/optim/_muon.py, _single_tensor_muon."""
    w, m = weight.astype(np.float64), np.zeros(weight.shape)
    for gradient in gradients:
        m = m + 0.05 * (gradient - m)
        update = gradient + 0.95 * (m - gradient)
        rate = RATE * 0.2 * math.sqrt(max(weight.shape))
        w = w * (1 - RATE * DECAY) - rate * orthogonalized(update)
    return w


def main():
    random = np.random.default_rng(7)
    draw = lambda scale: {n: (scale * random.standard_normal(s)).astype(np.float32) for n, s in SHAPES.items()}
    weights, gradients = draw(1.0), [draw(0.1) for _ in range(STEPS)]
    tensors = {f"start.{name}": value for name, value in weights.items()}
    for name in SHAPES:
        tensors[f"gradients.{name}"] = np.stack([step[name] for step in gradients])

    variables = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in weights.items()}
    groups = [
        {"params": [p for n, p in variables.items() if n in DECAYS], "weight_decay": DECAY},
        {"params": [p for n, p in variables.items() if n not in DECAYS], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.999), eps=1e-8)
    for step in gradients:
        for name, variable in variables.items():
            variable.grad = torch.tensor(step[name])
        optimizer.step()
    for name, variable in variables.items():
        tensors[f"adamw.{name}"] = variable.detach().numpy()

    tensors |= {f"lamb.{n}": v.astype(np.float32) for n, v in lamb(weights, gradients).items()}

    expected = muon(weights["layer.weight"], [step["layer.weight"] for step in gradients])
    tensors["muon.layer.weight"] = expected.astype(np.float32)
    variable = torch.nn.Parameter(torch.tensor(weights["layer.weight"]))
    optimizer = torch.optim.Muon([variable], lr=RATE, weight_decay=DECAY, momentum=0.95,
                                 nesterov=True, adjust_lr_fn="match_rms_adamw")
    for step in gradients:
        variable.grad = torch.tensor(step["layer.weight"])
        optimizer.step()
    difference = np.abs(variable.detach().numpy() - expected).max()
    save_file(tensors, "crates/albert-train/tests/fixtures/optimizers.safetensors")

    print("python", sys.version.split()[0], "numpy", np.__version__, "torch", torch.__version__,
          "transformers", transformers.__version__)
    print(f"muon: torch's bfloat16 differs by {difference:.1e} after {STEPS} steps")
    schedules = {
        "linear": lambda o: optimization.get_linear_schedule_with_warmup(o, 3, 10),
        "cosine": lambda o: optimization.get_cosine_schedule_with_warmup(o, 3, 10),
        "polynomial": lambda o: optimization.get_polynomial_decay_schedule_with_warmup(o, 3, 10),
        "constant": lambda o: optimization.get_constant_schedule_with_warmup(o, 3),
        "wsd": lambda o: optimization.get_wsd_schedule(o, 3, 5, 2),
    }
    for name, make in schedules.items():
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
        schedule, rates = make(optimizer), []
        for _ in range(11):
            rates.append(schedule.get_last_lr()[0])
            optimizer.step()
            schedule.step()
        print(name, [float(f"{rate:.7g}") for rate in rates])


main()
