"""Muon: momentum whose update is made orthogonal, for weight matrices.

    M ← β M + G;   U = NewtonSchulz5(G + β M);   W ← W − 0.2 η √max(rows, columns) U

U's singular values are near 1, so the root mean square of an update is about 0.2 η, that of AdamW.
In f32: torch.optim.Muon iterates in bf16, which few CPUs multiply.

Source: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/; the scale is Liu et al. 2025, arXiv 2502.16982.
"""

import torch


def newton_schulz(matrix):
    """An approximation of U Vᵀ for matrix = U S Vᵀ, singular values within about 0.7 to 1.2."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[-2] > matrix.shape[-1]
    x = matrix.mT if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    def __init__(self, parameters, lr, momentum=0.95):
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum = state["momentum"]
                momentum.mul_(group["momentum"]).add_(parameter.grad)
                update = newton_schulz(parameter.grad + group["momentum"] * momentum)
                parameter.sub_(update, alpha=0.2 * group["lr"] * max(parameter.shape) ** 0.5)
