//! Finds the best order of a few items, given the weight of either order for every pair.

/// Up to this many items the search is exact: 2¹⁶ sets, with 16 successors each.
const EXACT: usize = 16;

/// The weight of one item coming anywhere before another.
pub(super) type Weights = Vec<Vec<f64>>;

/// Turns the probability that each pair is in order into the weight of a before b, `ln P(a, b) + ln
/// (1 − P(b, a))`.
pub(super) fn weights(in_order: &[Vec<f64>]) -> Weights {
    /// The resolution of f32: no probability is certain.
    const CERTAIN: f64 = f32::EPSILON as f64;
    let ln = |probability: f64| probability.clamp(CERTAIN, 1.0 - CERTAIN).ln();
    let weight = |a: usize, b: usize| ln(in_order[a][b]) + ln(1.0 - in_order[b][a]);
    (0..in_order.len())
        .map(|a| (0..in_order.len()).map(|b| weight(a, b)).collect())
        .collect()
}

/// Returns the order with the largest sum of weights over all pairs, as indices.
pub(super) fn best_order(weights: &Weights) -> Vec<usize> {
    if weights.len() <= EXACT {
        exact(weights)
    } else {
        improved(weights)
    }
}

/// Finds the best of all orders by dynamic programming over the sets of items already placed:
///
/// ```text
/// best(S) = max over v ∉ S of Σ over u ∈ S of w(u, v) + best(S ∪ {v})
/// ```
fn exact(weights: &Weights) -> Vec<usize> {
    let count = weights.len();
    let outside = |set: usize| (0..count).filter(move |&v| set & (1 << v) == 0);
    let gain = |set: usize, v: usize| -> f64 {
        (0..count)
            .filter(|&u| set & (1 << u) != 0)
            .map(|u| weights[u][v])
            .sum()
    };
    let full = (1 << count) - 1;
    let mut best = vec![0.0; full + 1];
    let mut next = vec![0; full + 1];
    for set in (0..full).rev() {
        let mut found: Option<(f64, usize)> = None;
        for v in outside(set) {
            let value = gain(set, v) + best[set | 1 << v];
            // Among equal values the first wins.
            if found.is_none_or(|(value_so_far, _)| value > value_so_far) {
                found = Some((value, v));
            }
        }
        (best[set], next[set]) = found.unwrap_or_default();
    }
    let mut set = 0;
    let mut order = Vec::with_capacity(count);
    while set != full {
        order.push(next[set]);
        set |= 1 << next[set];
    }
    order
}

/// Finds a good order: sorts the items by how much better each is before the others than after
/// them, then moves each to its best position until nothing improves.
fn improved(weights: &Weights) -> Vec<usize> {
    /// Gains below this are rounding.
    const GAIN: f64 = 1e-9;
    let count = weights.len();
    let eagerness = |u: usize| {
        (0..count)
            .map(|v| weights[u][v] - weights[v][u])
            .sum::<f64>()
    };
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| eagerness(b).total_cmp(&eagerness(a)));
    loop {
        let mut moved = false;
        for from in 0..count {
            let item = order[from];
            let (mut best, mut to) = (GAIN, from);
            // Toward the front and toward the end, summing the gain of passing each neighbor.
            let passing = |other: usize| weights[item][other] - weights[other][item];
            let mut gain = 0.0;
            for (at, &other) in order[..from].iter().enumerate().rev() {
                gain += passing(other);
                if gain > best {
                    (best, to) = (gain, at);
                }
            }
            gain = 0.0;
            for (at, &other) in order.iter().enumerate().skip(from + 1) {
                gain -= passing(other);
                if gain > best {
                    (best, to) = (gain, at);
                }
            }
            if to != from {
                order.remove(from);
                order.insert(to, item);
                moved = true;
            }
        }
        if !moved {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a reproducible matrix of probabilities.
    fn probabilities(count: usize, seed: u64) -> Vec<Vec<f64>> {
        let mut random = fastrand::Rng::with_seed(seed);
        (0..count)
            .map(|_| (0..count).map(|_| random.f64()).collect())
            .collect()
    }

    fn worth(weights: &Weights, order: &[usize]) -> f64 {
        let pairs = order
            .iter()
            .enumerate()
            .flat_map(|(at, &a)| order[at + 1..].iter().map(move |&b| (a, b)));
        pairs.map(|(a, b)| weights[a][b]).sum()
    }

    fn permutations(count: usize) -> Vec<Vec<usize>> {
        if count == 0 {
            return vec![vec![]];
        }
        let smaller = permutations(count - 1);
        let insert = |order: &Vec<usize>, at: usize| {
            let mut order = order.clone();
            order.insert(at, count - 1);
            order
        };
        smaller
            .iter()
            .flat_map(|order| (0..count).map(move |at| insert(order, at)))
            .collect()
    }

    #[test]
    fn no_permutation_is_better_than_the_exact_order() {
        for seed in 0..20 {
            let weights = weights(&probabilities(6, seed));
            let found = worth(&weights, &exact(&weights));
            let best = permutations(6)
                .iter()
                .map(|order| worth(&weights, order))
                .fold(f64::MIN, f64::max);
            assert!((found - best).abs() < 1e-9, "{found} {best}");
        }
    }

    #[test]
    fn indifference_keeps_the_order() {
        assert_eq!(best_order(&weights(&vec![vec![0.5; 4]; 4])), [0, 1, 2, 3]);
        assert_eq!(
            best_order(&weights(&vec![vec![0.5; 20]; 20])),
            (0..20).collect::<Vec<_>>()
        );
        assert_eq!(best_order(&weights(&[vec![0.5]])), [0]);
        assert!(best_order(&weights(&[])).is_empty());
    }

    #[test]
    fn certain_pairs_sort_any_number_of_things() {
        for count in [3, EXACT, EXACT + 1, 40] {
            // Thing i belongs at place (i × 7) mod count, or backwards where 7 divides the count.
            let place = |i: usize| {
                if count % 7 == 0 {
                    count - 1 - i
                } else {
                    i * 7 % count
                }
            };
            let in_order: Vec<Vec<f64>> = (0..count)
                .map(|a| {
                    (0..count)
                        .map(|b| f64::from(u8::from(place(a) < place(b))))
                        .collect()
                })
                .collect();
            let order = best_order(&weights(&in_order));
            let places: Vec<usize> = order.into_iter().map(place).collect();
            assert_eq!(places, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_search_is_never_worse_than_its_start_and_close_to_the_best() {
        for seed in 0..10 {
            let weights = weights(&probabilities(9, seed));
            let (found, best) = (
                worth(&weights, &improved(&weights)),
                worth(&weights, &exact(&weights)),
            );
            assert!(found <= best + 1e-9);
            assert!(best - found < 0.1 * best.abs(), "{found} {best}");
        }
    }
}
