//! The division of a batch among threads: whole sequences for each, or all threads in every layer.

use super::bundle::Sequence;

/// The number of tokens in the bundle that a thread takes at a time, unless a single sequence has
/// more: enough to reuse a cached weight often, and few enough for the activations to stay cached.
const BUNDLE_TOKENS: usize = 256;

/// [`BUNDLE_TOKENS`] for int8 weights, which have a quarter of the size: 3 % faster than 256 on two
/// threads of a Zen 5 with 1 MB of L2.
const BUNDLE_TOKENS_INT8: usize = 128;

/// The number of tokens per thread below which the threads share each product instead: with fewer,
/// reading the weights takes longer than multiplying by them, so each thread reads only its part.
/// Two threads on a Xeon with 2 MB of L2 broke even at about this number.
const TOKENS_APART: usize = 64;

/// The time that a schedule of whole sequences may take, relative to an even one; sharing the work
/// within layers costs about as much in waiting.
const UNEVENNESS: f64 = 1.15;

/// The bundles to compute, the largest first, and the threads that compute each.
pub(super) enum Plan<'a> {
    /// All threads share a bundle.
    Shared(Vec<Vec<Sequence<'a>>>),
    /// One thread takes a bundle.
    Apart(Vec<Vec<Sequence<'a>>>),
}

impl<'a> Plan<'a> {
    /// Divides sequences among threads, for int8 weights or others.
    pub(super) fn new(mut sequences: Vec<Sequence<'a>>, threads: usize, is_int8: bool) -> Self {
        let bundle_tokens = if is_int8 {
            BUNDLE_TOKENS_INT8
        } else {
            BUNDLE_TOKENS
        };
        let total: usize = sequences.iter().map(|sequence| sequence.tokens).sum();
        sequences.sort_by_key(|sequence| std::cmp::Reverse(sequence.tokens));
        // The same number of bundles per thread, as even as possible.
        let count = threads * total.div_ceil(threads * bundle_tokens);
        let lengths: Vec<usize> = sequences.iter().map(|sequence| sequence.tokens).collect();
        let (bundles, sizes) = distribute(&lengths, count);
        let (_, loads) = distribute(&sizes, threads);
        let longest = loads.into_iter().max().unwrap_or(0);
        let is_even = (longest * threads) as f64 <= UNEVENNESS * total as f64;
        let is_apart = threads == 1 || is_even && total >= threads * TOKENS_APART;

        let mut members: Vec<Vec<Sequence<'a>>> = sizes.iter().map(|_| Vec::new()).collect();
        for (sequence, bundle) in sequences.into_iter().zip(bundles) {
            members[bundle].push(sequence);
        }
        let tokens = |bundle: &Vec<Sequence<'_>>| bundle.iter().map(|s| s.tokens).sum::<usize>();
        members.sort_by_key(|bundle| std::cmp::Reverse(tokens(bundle)));
        members.retain(|bundle| !bundle.is_empty());
        if is_apart {
            Self::Apart(members)
        } else {
            Self::Shared(members)
        }
    }
}

/// Assigns each size, largest first, to the bin with the smallest load. Returns the bin of each
/// size and the load of each bin.
fn distribute(sizes: &[usize], bins: usize) -> (Vec<usize>, Vec<usize>) {
    let mut loads = vec![0; bins];
    let lightest = |loads: &[usize]| {
        (0..bins)
            .min_by_key(|&bin| loads[bin])
            .expect("there is a bin")
    };
    let chosen = sizes.iter().map(|size| {
        let bin = lightest(&loads);
        loads[bin] += size;
        bin
    });
    (chosen.collect(), loads)
}
