//! The character model: every character and every user-defined symbol is a piece.
//!
//! Source: google/sentencepiece 0.2.3, `src/char_model.cc`, `Model::Encode`.

use super::pieces::{Pieces, width};

/// Segments a normalized text: the id of each piece, and its end in bytes. A character that is not
/// a piece is unknown.
pub(super) fn cut(pieces: &Pieces, text: &str) -> Vec<(u32, usize)> {
    let mut cut = Vec::with_capacity(text.len());
    let mut start = 0;
    while start < text.len() {
        let rest = &text.as_bytes()[start..];
        let len = pieces
            .user_defined_len(rest)
            .unwrap_or_else(|| width(rest[0]));
        let id = pieces.id(&text[start..start + len]);
        start += len;
        cut.push((id.unwrap_or(pieces.unknown()), start));
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::super::model_file::ModelFile;
    use super::super::model_file::tests::{UNKNOWN, model};
    use super::*;

    #[test]
    fn characters_and_user_defined_symbols_are_pieces() {
        let pieces = [
            UNKNOWN,
            ("a", 0.0, 1),
            ("£", 0.0, 1),
            ("ab", 0.0, 4),
            ("£a", 0.0, 1),
        ];
        let pieces = Pieces::new(&ModelFile::parse(&model(&pieces, b"")).unwrap()).unwrap();
        assert_eq!(cut(&pieces, "a£abb"), [(1, 1), (2, 3), (3, 5), (0, 6)]);
        assert_eq!(cut(&pieces, ""), []);
    }
}
