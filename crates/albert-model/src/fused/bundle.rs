//! A bundle of sequences, whose tokens are the rows of one matrix.

/// A sequence of the batch.
#[derive(Debug)]
pub(super) struct Sequence<'a> {
    /// T, its length.
    pub(super) tokens: usize,
    /// `(T, E)`
    pub(super) embeddings: &'a [f32],
    /// `(T, H)`
    pub(super) states: &'a mut [f32],
    /// The tokens whose results are read, ascending; `None` for all.
    pub(super) read: Option<&'a [usize]>,
}

/// Copies the embeddings of a bundle's tokens to `rows`.
pub(super) fn gather(bundle: &[Sequence<'_>], mut rows: &mut [f32]) {
    for sequence in bundle {
        let own;
        (own, rows) = rows.split_at_mut(sequence.embeddings.len());
        own.copy_from_slice(sequence.embeddings);
    }
}

/// Copies the hidden states of the tokens that are read, of width `h`, to their sequences.
pub(super) fn scatter(bundle: &mut [Sequence<'_>], mut rows: &[f32], h: usize) {
    for sequence in bundle {
        match sequence.read {
            None => {
                let own;
                (own, rows) = rows.split_at(sequence.states.len());
                sequence.states.copy_from_slice(own);
            }
            Some(read) => {
                for &token in read {
                    let own;
                    (own, rows) = rows.split_at(h);
                    sequence.states[token * h..][..h].copy_from_slice(own);
                }
            }
        }
    }
}

/// Returns the rows of a bundle that are read, ascending; `None` if all are.
pub(super) fn rows_read(bundle: &[Sequence<'_>]) -> Option<Vec<usize>> {
    let mut start = 0;
    let mut rows = Vec::new();
    for sequence in bundle {
        rows.extend(sequence.read?.iter().map(|token| start + token));
        start += sequence.tokens;
    }
    Some(rows)
}
