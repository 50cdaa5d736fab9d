//! Ragged batches: the tokens of all sequences one after another, without padding.

use candle_core::{D, Device, Result, Tensor, bail};

use crate::input::{ModelInput, TokensRead};
use crate::mask::additive_mask;

/// The boundaries of consecutive sequences.
#[derive(Debug, Clone)]
pub(crate) struct Sequences {
    /// The first row of each sequence, followed by the end, `(B + 1)`.
    pub(crate) starts: Vec<u32>,
    /// `starts` on the device of the weights, u32.
    pub(crate) starts_on_device: Tensor,
}

impl Sequences {
    /// Returns the length of each sequence.
    pub(crate) fn lengths(&self) -> impl Iterator<Item = usize> {
        self.starts
            .windows(2)
            .map(|ends| (ends[1] - ends[0]) as usize)
    }

    /// Returns the length of the longest sequence.
    pub(crate) fn longest(&self) -> usize {
        self.lengths().max().unwrap_or(0)
    }

    /// Returns the first row of each sequence: `(ΣT, H)` → `(B, H)`.
    pub(crate) fn first_rows(&self, states: &Tensor) -> Result<Tensor> {
        let sequences = self.starts.len() - 1;
        states.index_select(&self.starts_on_device.narrow(0, 0, sequences)?, 0)
    }
}

/// The two layouts of a batch, ragged `(ΣT)` and padded `(B, T)`, and the conversion between them.
#[derive(Debug)]
pub(crate) struct Ragged {
    batch: usize,
    tokens: usize,
    pub(crate) sequences: Sequences,
    /// The column of each token in the padded batch, `(ΣT)`.
    columns: Tensor,
    /// `None` if there is no padding, so that both layouts have the same rows, or if no padded
    /// layout is needed.
    moves: Option<Moves>,
}

#[derive(Debug)]
struct Moves {
    /// The position of each token in the padded batch, `(ΣT)`.
    indices: Tensor,
    /// The token at each position of the padded batch, `(B T)`, or [`PADDING`].
    places: Tensor,
}

/// An index for which Candle's `index_select` returns zeros, the maximum of its type.
const PADDING: u32 = u32::MAX;

impl Ragged {
    /// Determines the layout of a padded batch `(B, T)` from its mask, which is 0 at padding, in
    /// any position. Returns `None` if
    ///
    /// - the mask is on a GPU, since reading it would wait for the device;
    /// - a sequence is all padding, or its first token is padding and `is_pooled`, because the
    ///   pooler reads it.
    pub(crate) fn from_mask(
        mask: Option<&Tensor>,
        (batch, tokens): (usize, usize),
        is_pooled: bool,
        device: &Device,
    ) -> Result<Option<Self>> {
        let Some(mask) = mask else {
            let rows = (0..batch).map(|_| (0..tokens as u32).collect());
            return Self::new(rows, (batch, tokens), true, device).map(Some);
        };
        if !matches!(mask.device(), Device::Cpu) {
            return Ok(None);
        }
        let is_token = mask.ne(&mask.zeros_like()?)?.to_vec2::<u8>()?;
        let cannot_serve =
            |is_token: &Vec<u8>| !is_token.contains(&1) || is_pooled && is_token[0] == 0;
        if is_token.iter().any(cannot_serve) {
            return Ok(None);
        }
        let rows = is_token.iter().map(|is_token| {
            (0..tokens as u32)
                .filter(|&column| is_token[column as usize] != 0)
                .collect()
        });
        Self::new(rows, (batch, tokens), true, device).map(Some)
    }

    /// Creates the layout of sequences of these lengths that stay ragged.
    pub(crate) fn joined(lengths: &[usize], device: &Device) -> Result<Self> {
        Self::from_lengths(lengths, false, device)
    }

    /// Creates the layout of sequences of these lengths that are padded on the right.
    pub(crate) fn padded(lengths: &[usize], device: &Device) -> Result<Self> {
        Self::from_lengths(lengths, true, device)
    }

    fn from_lengths(lengths: &[usize], needs_moves: bool, device: &Device) -> Result<Self> {
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let rows = lengths.iter().map(|&length| (0..length as u32).collect());
        Self::new(rows, (lengths.len(), longest), needs_moves, device)
    }

    /// Creates a layout from the columns of each sequence's tokens.
    fn new(
        rows: impl Iterator<Item = Vec<u32>>,
        (batch, tokens): (usize, usize),
        needs_moves: bool,
        device: &Device,
    ) -> Result<Self> {
        let (mut starts, mut columns, mut indices) = (vec![0], Vec::new(), Vec::new());
        for (row, of_row) in rows.enumerate() {
            indices.extend(of_row.iter().map(|column| (row * tokens) as u32 + column));
            columns.extend(of_row);
            starts.push(columns.len() as u32);
        }
        let (total, size) = (columns.len(), batch * tokens);
        let has_moves = needs_moves && total < size;
        // One copy to the device for all index tensors.
        let mut values = [&starts[..], &columns].concat();
        if has_moves {
            let mut places = vec![PADDING; size];
            for (token, &index) in indices.iter().enumerate() {
                places[index as usize] = token as u32;
            }
            values.extend([indices, places].concat());
        }
        let values = Tensor::new(values, device)?;
        let (starts_on_device, rest) = (values.narrow(0, 0, batch + 1)?, batch + 1);
        let moves = has_moves.then(|| -> Result<_> {
            Ok(Moves {
                indices: values.narrow(0, rest + total, total)?,
                places: values.narrow(0, rest + 2 * total, size)?,
            })
        });
        Ok(Self {
            batch,
            tokens,
            columns: values.narrow(0, rest, total)?,
            moves: moves.transpose()?,
            sequences: Sequences {
                starts,
                starts_on_device,
            },
        })
    }

    /// Returns the tokens of each sequence that are read, ascending, as places in the sequence;
    /// `None` if all are. `is_pooled` adds the first of each sequence.
    pub(crate) fn tokens_read(
        &self,
        input: &ModelInput,
        is_pooled: bool,
    ) -> Result<Option<Vec<Vec<usize>>>> {
        let starts = &self.sequences.starts;
        let mut read = vec![Vec::new(); starts.len() - 1];
        match &input.tokens_read {
            TokensRead::All => return Ok(None),
            TokensRead::First => read.iter_mut().for_each(|tokens| tokens.push(0)),
            TokensRead::At(places) => {
                if is_pooled {
                    read.iter_mut().for_each(|tokens| tokens.push(0));
                }
                for token in self.tokens_at(places, input.lengths.is_some())? {
                    let sequence = starts.partition_point(|&start| start <= token) - 1;
                    read[sequence].push((token - starts[sequence]) as usize);
                }
                for tokens in &mut read {
                    tokens.sort_unstable();
                    tokens.dedup();
                }
            }
        }
        Ok(Some(read))
    }

    /// Returns the token at each place of a padded or ragged batch, without those that are padding.
    fn tokens_at(&self, places: &[u32], is_ragged: bool) -> Result<Vec<u32>> {
        let total = self.sequences.starts.last().copied().unwrap_or(0);
        let tokens = match &self.moves {
            Some(moves) if !is_ragged => Some(moves.places.to_vec1::<u32>()?),
            _ => None,
        };
        let size = tokens.as_ref().map_or(total as usize, Vec::len);
        let token = |&place: &u32| -> Result<Option<u32>> {
            if place as usize >= size {
                bail!(
                    "position {place} is outside the batch: expected 0 to {}",
                    size - 1
                )
            }
            let token = tokens
                .as_ref()
                .map_or(place, |tokens| tokens[place as usize]);
            Ok((token != PADDING).then_some(token))
        };
        let found = places.iter().map(token).collect::<Result<Vec<_>>>()?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Converts a padded input to one sequence `(1, ΣT)` of all tokens, each with its type and
    /// position.
    pub(crate) fn unpadded_input(&self, input: &ModelInput) -> Result<ModelInput> {
        let unpad = |tensor: &Tensor| {
            let flat = tensor
                .broadcast_as((self.batch, self.tokens))?
                .flatten_all()?;
            match &self.moves {
                Some(Moves { indices, .. }) => flat.index_select(indices, 0)?.unsqueeze(0),
                None => flat.unsqueeze(0),
            }
        };
        Ok(ModelInput {
            ids: unpad(&input.ids)?,
            lengths: None,
            attention_mask: None,
            token_type_ids: input.token_type_ids.as_ref().map(unpad).transpose()?,
            position_ids: Some(match &input.position_ids {
                Some(positions) => unpad(positions)?,
                None => self.columns.unsqueeze(0)?,
            }),
            outputs: input.outputs,
            tokens_read: TokensRead::All,
        })
    }

    /// Views a ragged input as one sequence `(1, ΣT)`, each token with its type and position.
    pub(crate) fn joined_input(&self, input: &ModelInput) -> Result<ModelInput> {
        let join = |tensor: &Tensor| tensor.unsqueeze(0);
        Ok(ModelInput {
            ids: join(&input.ids)?,
            lengths: None,
            attention_mask: None,
            token_type_ids: input.token_type_ids.as_ref().map(join).transpose()?,
            position_ids: Some(match &input.position_ids {
                Some(positions) => join(positions)?,
                None => self.columns.unsqueeze(0)?,
            }),
            outputs: input.outputs,
            tokens_read: TokensRead::All,
        })
    }

    /// Converts a ragged input to a padded one `(B, T)`.
    pub(crate) fn padded_input(&self, input: &ModelInput) -> Result<ModelInput> {
        let shape = (self.batch, self.tokens);
        let pad = |tensor: &Tensor| match &self.moves {
            Some(Moves { places, .. }) => tensor.index_select(places, 0)?.reshape(shape),
            None => tensor.reshape(shape),
        };
        let is_token = |Moves { places, .. }: &Moves| places.ne(PADDING)?.reshape(shape);
        Ok(ModelInput {
            ids: pad(&input.ids)?,
            lengths: None,
            attention_mask: self.moves.as_ref().map(is_token).transpose()?,
            token_type_ids: input.token_type_ids.as_ref().map(pad).transpose()?,
            position_ids: input.position_ids.as_ref().map(pad).transpose()?,
            outputs: input.outputs,
            tokens_read: TokensRead::All,
        })
    }

    /// Pads hidden states with zeros: `(ΣT, H)` → `(B, T, H)`.
    pub(crate) fn pad(&self, states: &Tensor) -> Result<Tensor> {
        let (_, h) = states.dims2()?;
        let states = match &self.moves {
            Some(Moves { places, .. }) => states.index_select(places, 0)?,
            None => states.clone(),
        };
        states.reshape((self.batch, self.tokens, h))
    }

    /// Removes the padding of hidden states: `(B, T, H)` → `(ΣT, H)`.
    pub(crate) fn unpad(&self, states: &Tensor) -> Result<Tensor> {
        let states = states.reshape((self.batch * self.tokens, states.dim(D::Minus1)?))?;
        match &self.moves {
            Some(Moves { indices, .. }) => states.index_select(indices, 0),
            None => Ok(states),
        }
    }
}

/// Checks that the tensors of a ragged input are `(ΣT)` and its lengths sum to ΣT.
pub(crate) fn check(input: &ModelInput, lengths: &[usize]) -> Result<()> {
    let Ok(tokens) = input.ids.dims1() else {
        bail!(
            "ragged token ids: expected the shape (tokens), found {:?}",
            input.ids.dims()
        )
    };
    let total: usize = lengths.iter().sum();
    if total != tokens || lengths.is_empty() || lengths.contains(&0) {
        bail!(
            "ragged token ids: expected sequences of at least one token, {tokens} tokens in total, \
             found {} sequences of {total} tokens",
            lengths.len()
        )
    }
    if input.attention_mask.is_some() {
        bail!("a ragged batch has no padding: expected no attention mask")
    }
    Ok(())
}

/// Returns the mask of a padded input to add to attention scores, if it has one.
pub(crate) fn mask_for_scores(input: &ModelInput, embeddings: &Tensor) -> Result<Option<Tensor>> {
    let additive =
        |mask: &Tensor| additive_mask(&mask.to_device(embeddings.device())?, embeddings.dtype());
    input.attention_mask.as_ref().map(additive).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask() -> Result<Tensor> {
        Tensor::new(&[[1u32, 1, 0, 0], [1, 0, 0, 7], [1, 1, 1, 1]], &Device::Cpu)
    }

    fn ragged() -> Result<Ragged> {
        Ok(
            Ragged::from_mask(Some(&mask()?), (3, 4), true, &Device::Cpu)?
                .expect("every row has tokens"),
        )
    }

    #[test]
    fn padding_goes_and_comes_back_as_zeros() -> Result<()> {
        let ragged = ragged()?;
        assert_eq!(ragged.sequences.starts, [0, 2, 4, 8]);
        assert_eq!(ragged.sequences.longest(), 4);

        let ids = Tensor::arange(1u32, 13, &Device::Cpu)?.reshape((3, 4))?;
        let input = ragged.unpadded_input(&ModelInput::new(ids))?;
        assert_eq!(input.ids.to_vec2::<u32>()?, [[1, 2, 5, 8, 9, 10, 11, 12]]);
        assert_eq!(
            input.position_ids.unwrap().to_vec2::<u32>()?,
            [[0, 1, 0, 3, 0, 1, 2, 3]]
        );

        let states = input
            .ids
            .reshape((8, 1))?
            .to_dtype(candle_core::DType::F32)?;
        let padded = ragged.pad(&states)?;
        assert_eq!(
            padded.squeeze(2)?.to_vec2::<f32>()?,
            [[1., 2., 0., 0.], [5., 0., 0., 8.], [9., 10., 11., 12.]]
        );
        assert_eq!(
            ragged.unpad(&padded)?.to_vec2::<f32>()?,
            states.to_vec2::<f32>()?
        );
        Ok(())
    }

    #[test]
    fn positions_of_the_callers_own_are_unpadded_too() -> Result<()> {
        let positions = Tensor::new(&[7u32, 6, 5, 4], &Device::Cpu)?;
        let input = ModelInput::new(mask()?)
            .with_position_ids(positions)
            .with_token_type_ids(mask()?);
        let input = ragged()?.unpadded_input(&input)?;
        assert_eq!(
            input.position_ids.unwrap().to_vec2::<u32>()?,
            [[7, 6, 7, 4, 7, 6, 5, 4]]
        );
        assert_eq!(
            input.token_type_ids.unwrap().to_vec2::<u32>()?,
            [[1, 1, 1, 7, 1, 1, 1, 1]]
        );
        Ok(())
    }

    #[test]
    fn a_ragged_input_is_padded_on_the_right() -> Result<()> {
        let ragged = Ragged::padded(&[1, 3], &Device::Cpu)?;
        let input = ModelInput::ragged(Tensor::new(&[5u32, 6, 7, 8], &Device::Cpu)?, vec![1, 3]);
        let padded = ragged.padded_input(&input)?;
        assert_eq!(padded.ids.to_vec2::<u32>()?, [[5, 0, 0], [6, 7, 8]]);
        assert_eq!(
            padded.attention_mask.unwrap().to_vec2::<u8>()?,
            [[1, 0, 0], [1, 1, 1]]
        );
        Ok(())
    }

    #[test]
    fn rows_without_a_token_to_read_are_left_to_the_padded_path() -> Result<()> {
        let serves = |mask: &Tensor, is_pooled| {
            Ragged::from_mask(Some(mask), (2, 2), is_pooled, &Device::Cpu)
                .map(|ragged| ragged.is_some())
        };
        let empty = Tensor::new(&[[1u8, 1], [0, 0]], &Device::Cpu)?;
        assert!(!serves(&empty, false)?);
        let left = Tensor::new(&[[1u8, 1], [0, 1]], &Device::Cpu)?;
        assert!(!serves(&left, true)?);
        assert!(serves(&left, false)?);
        Ok(())
    }

    #[test]
    fn lengths_that_do_not_add_up_are_refused() -> Result<()> {
        let ids = Tensor::new(&[5u32, 6, 7], &Device::Cpu)?;
        for lengths in [&[1, 1][..], &[3, 0], &[], &[4]] {
            let input = ModelInput::ragged(ids.clone(), lengths.to_vec());
            assert!(check(&input, lengths).is_err(), "{lengths:?}");
        }
        Ok(())
    }
}
