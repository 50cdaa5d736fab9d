//! SentencePiece's models from a `spiece.model`, and ALBERT's reference tokenizer around them.
//!
//! [`SentencePiece`] gives the same pieces as the library of that name; `albert` adds the steps of
//! transformers' slow `AlbertTokenizer` before and after.

mod added_tokens;
mod albert;
mod characters;
mod charsmap;
mod engine;
mod merges;
mod model_file;
mod normalizer;
mod pieces;
mod preparation;
mod python;
mod trace;
mod unigram;

use std::collections::HashMap;
use std::ops::Range;

pub(super) use albert::AlbertTokenizer;
use model_file::{Algorithm, Kind, ModelFile, Refusal};
use normalizer::{Normalizer, SPACE};
use pieces::Pieces;
use trace::TracedChar;

/// The model of a `spiece.model`.
#[derive(Debug)]
struct SentencePiece {
    normalizer: Normalizer,
    algorithm: Algorithm,
    pieces: Pieces,
    /// The concatenated texts of all pieces, and the end of each.
    texts: String,
    ends: Vec<u32>,
    /// Pieces without a text: control symbols and the unknown.
    reserved: HashMap<String, u32>,
}

/// A text in pieces.
struct Cut {
    /// The normalized text.
    chars: Vec<TracedChar>,
    pieces: Vec<CutPiece>,
}

/// A piece in a [`Cut`].
struct CutPiece {
    id: u32,
    chars: Range<usize>,
}

impl SentencePiece {
    /// Reads the bytes of a `spiece.model`.
    fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        if u32::try_from(bytes.len()).is_err() {
            return Err("it is longer than 4 GiB".to_string());
        }
        let file = ModelFile::parse(bytes)?;
        let mut reserved = HashMap::new();
        let (mut texts, mut ends) = (String::new(), Vec::with_capacity(file.pieces.len()));
        for (id, piece) in (0u32..).zip(&file.pieces) {
            if matches!(piece.kind, Kind::Control | Kind::Unknown)
                && reserved.insert(piece.text.to_string(), id).is_some()
            {
                return Err(format!("it has the piece `{}` twice", piece.text));
            }
            texts.push_str(piece.text);
            ends.push(texts.len() as u32);
        }
        Ok(Self {
            normalizer: Normalizer::new(&file)?,
            algorithm: file.algorithm,
            pieces: Pieces::new(&file)?,
            texts,
            ends,
            reserved,
        })
    }

    /// Segments a text. A run of unknown characters is one piece.
    fn cut(&self, chars: &[TracedChar]) -> Result<Cut, Refusal> {
        self.cut_part(chars, &mut 0.0)
    }

    /// Cuts a part of a text. `sum` is that of a unigram model's scores before it, and afterwards
    /// with it.
    fn cut_part(&self, chars: &[TracedChar], sum: &mut f32) -> Result<Cut, Refusal> {
        let chars = self.normalizer.normalize(chars)?;
        let text: String = chars.iter().map(|traced| traced.c).collect();
        let mut pieces: Vec<CutPiece> = Vec::new();
        let (mut done, mut at) = (0, 0);
        if u32::try_from(text.len()).is_err() {
            return Err("the normalized text is longer than 4 GiB".to_string());
        }
        let cut = match self.algorithm {
            Algorithm::Unigram => unigram::cut(&self.pieces, &text, sum),
            Algorithm::Bpe => merges::cut(&self.pieces, &text),
            Algorithm::Characters => characters::cut(&self.pieces, &text),
        };
        for (id, end) in cut {
            let chars = at..at + text[done..end].chars().count();
            (done, at) = (end, chars.end);
            match pieces.last_mut() {
                Some(last) if id == self.pieces.unknown() && last.id == id => {
                    last.chars.end = chars.end
                }
                _ => pieces.push(CutPiece { id, chars }),
            }
        }
        // An unknown run may spell a piece that is never chosen, whose id the library then looks
        // up.
        for piece in pieces
            .iter_mut()
            .filter(|piece| piece.id == self.pieces.unknown())
        {
            piece.id = self.id_or_unknown(&chars[piece.chars.clone()]);
        }
        Ok(Cut { chars, pieces })
    }

    /// Returns true if a space of the text is always the beginning of a piece, so that a text may
    /// be cut in parts that end before one.
    fn begins_pieces_with_spaces(&self) -> bool {
        let sign = SPACE.to_string();
        let mut from = 0;
        let inside = self.ends.iter().any(|&end| {
            let piece = &self.texts[from..end as usize];
            from = end as usize;
            piece.contains(' ') || piece.chars().skip(1).any(|c| c == SPACE)
        });
        let normalizer = &self.normalizer;
        let is_piece = |id: u32| self.pieces.kind(id) == Kind::Normal;
        !inside
            && normalizer.adds_dummy_prefix()
            && normalizer.space() == SPACE
            && self.pieces.id(&sign).is_some_and(is_piece)
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn piece(&self, id: u32) -> Option<&str> {
        let end = *self.ends.get(id as usize)?;
        let start = (id as usize)
            .checked_sub(1)
            .map_or(0, |before| self.ends[before]);
        self.texts.get(start as usize..end as usize)
    }

    fn id(&self, piece: &str) -> Option<u32> {
        self.reserved
            .get(piece)
            .copied()
            .or_else(|| self.pieces.id(piece))
    }

    /// Returns the id of the piece with these characters.
    fn id_or_unknown(&self, chars: &[TracedChar]) -> u32 {
        let piece: String = chars.iter().map(|traced| traced.c).collect();
        self.id(&piece).unwrap_or(self.pieces.unknown())
    }
}

#[cfg(test)]
mod tests {
    use super::model_file::tests::model;
    use super::trace::trace;
    use super::*;

    fn parse(pieces: &[(&str, f32, u8)]) -> Result<SentencePiece, Refusal> {
        SentencePiece::parse(&model(pieces, b""))
    }

    #[test]
    fn unknown_characters_in_a_row_are_one_piece() {
        let model = parse(&[("<unk>", 0.0, 2), ("▁", -1.0, 1), ("a", -1.0, 1)]).unwrap();
        let cut = model.cut(&trace("東京a 京")).unwrap();
        let pieces: Vec<(u32, Range<usize>)> = cut
            .pieces
            .into_iter()
            .map(|piece| (piece.id, piece.chars))
            .collect();
        assert_eq!(
            pieces,
            [(1, 0..1), (0, 1..3), (2, 3..4), (1, 4..5), (0, 5..6)]
        );
    }

    #[test]
    fn an_unknown_run_that_spells_a_reserved_piece_has_its_id() {
        let model = parse(&[("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("▁", -1.0, 1)]).unwrap();
        let ids: Vec<u32> = model
            .cut(&trace("<s>"))
            .unwrap()
            .pieces
            .iter()
            .map(|piece| piece.id)
            .collect();
        assert_eq!(ids, [2, 1]);
    }

    #[test]
    fn pieces_are_found_by_id_and_by_text() {
        let model = parse(&[("<unk>", 0.0, 2), ("[CLS]", 0.0, 3), ("▁a", -1.0, 1)]).unwrap();
        for (id, piece) in ["<unk>", "[CLS]", "▁a"].into_iter().enumerate() {
            assert_eq!(model.piece(id as u32), Some(piece));
            assert_eq!(model.id(piece), Some(id as u32));
        }
        assert_eq!(
            (model.piece(3), model.id("b"), model.len()),
            (None, None, 3)
        );
    }

    #[test]
    fn a_reserved_piece_may_not_be_there_twice() {
        let refusal = parse(&[("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("<s>", 0.0, 3)]).unwrap_err();
        assert_eq!(refusal, "it has the piece `<s>` twice");
    }
}
