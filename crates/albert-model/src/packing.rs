//! A padded batch without its padding: the tokens of all sequences, one after another.

use candle_core::{Device, Result, Tensor};

use crate::input::ModelInput;

/// Where the tokens of a batch `(B, T)` stand.
#[derive(Debug)]
pub(crate) struct Packing {
    batch: usize,
    tokens: usize,
    /// Sequence by sequence, which of its T places hold tokens, `(ΣT)`
    columns: Vec<u32>,
    /// Where each sequence begins in them, and their end, `(B + 1)`
    starts: Vec<u32>,
}

impl Packing {
    /// From a mask of tokens `(B, T)`, 0 for padding, wherever it stands. `None` where
    ///
    /// - the mask is on a GPU: reading it would wait for all that the GPU has to do;
    /// - a sequence is nothing but padding, or `is_pooled` and its first token, which the pooler
    ///   reads, is padding.
    pub(crate) fn new(
        mask: Option<&Tensor>,
        (batch, tokens): (usize, usize),
        is_pooled: bool,
    ) -> Result<Option<Self>> {
        let is_token = match mask {
            Some(mask) if !matches!(mask.device(), Device::Cpu) => return Ok(None),
            Some(mask) => mask.ne(&mask.zeros_like()?)?.to_vec2::<u8>()?,
            None => vec![vec![1; tokens]; batch],
        };
        let cannot_serve =
            |is_token: &Vec<u8>| !is_token.contains(&1) || is_pooled && is_token[0] == 0;
        if is_token.iter().any(cannot_serve) {
            return Ok(None);
        }
        let (mut columns, mut starts) = (Vec::new(), vec![0]);
        for is_token in is_token {
            columns.extend((0..tokens as u32).filter(|&column| is_token[column as usize] != 0));
            starts.push(columns.len() as u32);
        }
        Ok(Some(Self {
            batch,
            tokens,
            columns,
            starts,
        }))
    }

    /// For each sequence, which of its T places hold tokens.
    pub(crate) fn sequences(&self) -> impl Iterator<Item = &[u32]> {
        self.starts
            .windows(2)
            .map(|ends| &self.columns[ends[0] as usize..ends[1] as usize])
    }

    /// The same on a device, by one copy.
    pub(crate) fn on(&self, device: &Device) -> Result<PackedBatch> {
        let (total, size) = (self.columns.len(), self.batch * self.tokens);
        let mut numbers = [&self.starts[..], &self.columns].concat();
        if total < size {
            let first_of_row = (0..self.batch).map(|row| (row * self.tokens) as u32);
            let rows = self.sequences().zip(first_of_row);
            let indices: Vec<u32> = rows
                .flat_map(|(columns, first)| columns.iter().map(move |column| first + column))
                .collect();
            let mut places = vec![PADDING; size];
            for (packed, &index) in indices.iter().enumerate() {
                places[index as usize] = packed as u32;
            }
            numbers.extend([indices, places].concat());
        }
        let numbers = Tensor::new(numbers, device)?;
        let (starts, rest) = (numbers.narrow(0, 0, self.batch + 1)?, self.batch + 1);
        let columns = numbers.narrow(0, rest, total)?;
        let moves = match total < size {
            true => Some(Moves {
                indices: numbers.narrow(0, rest + total, total)?,
                places: numbers.narrow(0, rest + 2 * total, size)?,
            }),
            false => None,
        };
        let longest = self.sequences().map(<[u32]>::len).max().unwrap_or(0);
        Ok(PackedBatch {
            batch: self.batch,
            tokens: self.tokens,
            moves,
            columns,
            sequences: Sequences { starts, longest },
        })
    }
}

/// For this index, the largest of its type, Candle's `index_select` gives zeros.
const PADDING: u32 = u32::MAX;

/// A [`Packing`] on a device, every tensor in u32.
#[derive(Debug)]
pub(crate) struct PackedBatch {
    batch: usize,
    tokens: usize,
    /// `None` where there is no padding.
    moves: Option<Moves>,
    /// `(ΣT)`
    columns: Tensor,
    pub(crate) sequences: Sequences,
}

#[derive(Debug)]
struct Moves {
    /// Where in the batch each packed token stands, `(ΣT)`
    indices: Tensor,
    /// Which packed token stands at each place of the batch, `(B T)`, [`PADDING`] for none
    places: Tensor,
}

/// Where sequences that lie one after another begin.
#[derive(Debug)]
pub(crate) struct Sequences {
    /// `(B + 1)` with the end, u32
    pub(crate) starts: Tensor,
    /// The tokens of the longest.
    pub(crate) longest: usize,
}

impl PackedBatch {
    /// The tokens of `input` as one sequence `(1, ΣT)`, each with its type and position.
    pub(crate) fn input(&self, input: &ModelInput) -> Result<ModelInput> {
        let shape = (self.batch, self.tokens);
        let pack = |tensor: &Tensor| {
            let flat = tensor.broadcast_as(shape)?.flatten_all()?;
            match &self.moves {
                Some(Moves { indices, .. }) => flat.index_select(indices, 0)?.unsqueeze(0),
                None => flat.unsqueeze(0),
            }
        };
        Ok(ModelInput {
            ids: pack(&input.ids)?,
            attention_mask: None,
            token_type_ids: input.token_type_ids.as_ref().map(pack).transpose()?,
            position_ids: Some(match &input.position_ids {
                Some(positions) => pack(positions)?,
                None => self.columns.unsqueeze(0)?,
            }),
            outputs: input.outputs,
        })
    }

    /// `(ΣT, H)` → `(B, T, H)`, 0 at padding
    pub(crate) fn unpack(&self, states: &Tensor) -> Result<Tensor> {
        let (_, h) = states.dims2()?;
        let states = match &self.moves {
            Some(Moves { places, .. }) => states.index_select(places, 0)?,
            None => states.clone(),
        };
        states.reshape((self.batch, self.tokens, h))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask() -> Result<Tensor> {
        Tensor::new(&[[1u32, 1, 0, 0], [1, 0, 0, 7], [1, 1, 1, 1]], &Device::Cpu)
    }

    #[test]
    fn tokens_go_and_come_back_and_padding_is_zero() -> Result<()> {
        let packing = Packing::new(Some(&mask()?), (3, 4), true)?.expect("every row has tokens");
        let packed = packing.on(&Device::Cpu)?;
        assert_eq!(packed.sequences.starts.to_vec1::<u32>()?, [0, 2, 4, 8]);
        assert_eq!(packed.sequences.longest, 4);

        let ids = Tensor::arange(1u32, 13, &Device::Cpu)?.reshape((3, 4))?;
        let input = packed.input(&ModelInput::new(ids))?;
        assert_eq!(input.ids.to_vec2::<u32>()?, [[1, 2, 5, 8, 9, 10, 11, 12]]);
        assert_eq!(
            input.position_ids.unwrap().to_vec2::<u32>()?,
            [[0, 1, 0, 3, 0, 1, 2, 3]]
        );

        let states = input
            .ids
            .reshape((8, 1))?
            .to_dtype(candle_core::DType::F32)?;
        let states = packed.unpack(&states)?.squeeze(2)?.to_vec2::<f32>()?;
        assert_eq!(
            states,
            [[1., 2., 0., 0.], [5., 0., 0., 8.], [9., 10., 11., 12.]]
        );
        Ok(())
    }

    #[test]
    fn positions_of_ones_own_are_packed_too() -> Result<()> {
        let packed = Packing::new(Some(&mask()?), (3, 4), true)?
            .expect("every row has tokens")
            .on(&Device::Cpu)?;
        let positions = Tensor::new(&[7u32, 6, 5, 4], &Device::Cpu)?;
        let input = ModelInput::new(mask()?)
            .with_position_ids(positions)
            .with_token_type_ids(mask()?);
        let input = packed.input(&input)?;
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
    fn rows_that_only_padding_would_answer_for_are_left_to_others() -> Result<()> {
        let empty = Tensor::new(&[[1u8, 1], [0, 0]], &Device::Cpu)?;
        assert!(Packing::new(Some(&empty), (2, 2), false)?.is_none());
        let left = Tensor::new(&[[1u8, 1], [0, 1]], &Device::Cpu)?;
        assert!(Packing::new(Some(&left), (2, 2), true)?.is_none());
        assert!(Packing::new(Some(&left), (2, 2), false)?.is_some());
        Ok(())
    }
}
