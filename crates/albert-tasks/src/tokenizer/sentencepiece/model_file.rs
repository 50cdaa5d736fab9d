//! Reads a `spiece.model` file: SentencePiece's `ModelProto`, a protocol buffer.
//!
//! Only the fields that affect tokenization are read. The reader is strict: it refuses malformed
//! messages and unsupported kinds of models. It borrows from the file, and its allocations only
//! grow with the number of pieces.
//!
//! Source: google/sentencepiece 0.2.3, `src/sentencepiece_model.proto`.

use albert_formats::wire::{Broken, Fields, Wire};

/// The contents of the file.
#[derive(Debug)]
pub(super) struct ModelFile<'a> {
    /// The vocabulary; the index of a piece is its id.
    pub(super) pieces: Vec<Piece<'a>>,
    /// The settings of normalization.
    pub(super) normalizer: NormalizerSpec<'a>,
    /// The segmentation algorithm.
    pub(super) algorithm: Algorithm,
}

/// A segmentation algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Unigram,
    Bpe,
    Characters,
}

impl Algorithm {
    /// Returns the name for reports.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unigram => "Unigram",
            Self::Bpe => "BPE",
            Self::Characters => "characters",
        }
    }
}

/// One piece of the vocabulary.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece<'a> {
    pub(super) text: &'a str,
    /// The logarithm of its probability, for a normal piece.
    pub(super) score: f32,
    pub(super) kind: Kind,
}

/// The kind of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A text.
    Normal,
    /// The piece for text that no other piece covers.
    Unknown,
    /// An id without a text.
    Control,
    /// A text that is exempt from normalization.
    UserDefined,
    /// Never chosen.
    Unused,
}

/// The settings of normalization.
#[derive(Debug, Clone, Copy)]
pub(super) struct NormalizerSpec<'a> {
    /// The compiled map, or nothing.
    pub(super) charsmap: &'a [u8],
    /// True to add a space before the text.
    pub(super) add_dummy_prefix: bool,
    /// True to remove spaces at the ends and to collapse spaces between words.
    pub(super) remove_extra_whitespaces: bool,
    /// True to write a space as ▁.
    pub(super) escape_whitespaces: bool,
}

/// The reason why a file is refused.
pub(super) type Refusal = String;

impl<'a> ModelFile<'a> {
    /// Reads the bytes of a file.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let mut pieces = Vec::new();
        let mut normalizer = NormalizerSpec {
            charsmap: &[],
            add_dummy_prefix: true,
            remove_extra_whitespaces: true,
            escape_whitespaces: true,
        };
        let mut algorithm = Algorithm::Unigram;
        for field in Fields::new(bytes) {
            let (number, value) = field.map_err(broken)?;
            match number {
                1 => pieces.push(piece(bytes_of(value, "pieces")?, pieces.len())?),
                2 => algorithm = read_trainer(bytes_of(value, "trainer_spec")?)?,
                3 => read_normalizer(bytes_of(value, "normalizer_spec")?, &mut normalizer)?,
                _ => {}
            }
        }
        if pieces.is_empty() {
            return Err("it has no pieces".to_string());
        }
        Ok(Self {
            pieces,
            normalizer,
            algorithm,
        })
    }
}

fn piece(message: &[u8], id: usize) -> Result<Piece<'_>, Refusal> {
    let (mut text, mut score, mut kind) = ("", 0.0, 1);
    for field in Fields::new(message) {
        let (number, value) = field.map_err(broken)?;
        match number {
            1 => {
                text = std::str::from_utf8(bytes_of(value, "piece")?)
                    .map_err(|_| format!("piece {id} is not UTF-8"))?;
            }
            2 => score = float_of(value, "score")?,
            3 => kind = number_of(value, "type")?,
            _ => {}
        }
    }
    let kind = match kind {
        1 => Kind::Normal,
        2 => Kind::Unknown,
        3 => Kind::Control,
        4 => Kind::UserDefined,
        5 => Kind::Unused,
        6 => {
            return Err(format!("piece `{text}` is a byte, which is not supported"));
        }
        other => {
            return Err(format!(
                "piece {id}: expected a type from 1 to 6, found {other}"
            ));
        }
    };
    if text.is_empty() || text.contains('\0') {
        return Err(format!("piece {id} is empty or has a zero byte"));
    }
    if !score.is_finite() {
        return Err(format!(
            "piece `{text}`: expected a finite score, found {score}"
        ));
    }
    Ok(Piece { text, score, kind })
}

/// Reads the segmentation algorithm, and refuses unsupported ones.
fn read_trainer(message: &[u8]) -> Result<Algorithm, Refusal> {
    let mut algorithm = Algorithm::Unigram;
    for field in Fields::new(message) {
        let (number, value) = field.map_err(broken)?;
        match number {
            3 => match number_of(value, "model_type")? {
                1 => algorithm = Algorithm::Unigram,
                2 => algorithm = Algorithm::Bpe,
                3 => {
                    let why = "its model is of whole words: expected unigram, BPE or characters";
                    return Err(why.to_string());
                }
                4 => algorithm = Algorithm::Characters,
                other => {
                    return Err(format!(
                        "its model type is {other}: expected one from 1 to 4"
                    ));
                }
            },
            24 if number_of(value, "treat_whitespace_as_suffix")? != 0 => {
                return Err("`treat_whitespace_as_suffix` is not supported".to_string());
            }
            35 if number_of(value, "byte_fallback")? != 0 => {
                return Err("`byte_fallback` is not supported".to_string());
            }
            _ => {}
        }
    }
    Ok(algorithm)
}

fn read_normalizer<'a>(message: &'a [u8], spec: &mut NormalizerSpec<'a>) -> Result<(), Refusal> {
    for field in Fields::new(message) {
        let (number, value) = field.map_err(broken)?;
        match number {
            2 => spec.charsmap = bytes_of(value, "precompiled_charsmap")?,
            3 => spec.add_dummy_prefix = number_of(value, "add_dummy_prefix")? != 0,
            4 => spec.remove_extra_whitespaces = number_of(value, "remove_extra_whitespaces")? != 0,
            5 => spec.escape_whitespaces = number_of(value, "escape_whitespaces")? != 0,
            _ => {}
        }
    }
    Ok(())
}

fn bytes_of<'a>(value: Wire<'a>, name: &str) -> Result<&'a [u8], Refusal> {
    value.bytes().ok_or_else(|| mistyped(name))
}

fn number_of(value: Wire<'_>, name: &str) -> Result<u64, Refusal> {
    value.number().ok_or_else(|| mistyped(name))
}

fn float_of(value: Wire<'_>, name: &str) -> Result<f32, Refusal> {
    value.float().ok_or_else(|| mistyped(name))
}

fn mistyped(name: &str) -> Refusal {
    format!("`{name}` has the wrong type")
}

fn broken(error: Broken) -> Refusal {
    error.to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The unknown piece, which every model has.
    pub(in super::super) const UNKNOWN: (&str, f32, u8) = ("<unk>", 0.0, 2);

    /// A field of bytes.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut message = vec![number << 3 | 2];
        let mut length = bytes.len();
        while length >= 0x80 {
            message.push(length as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend(bytes);
        message
    }

    /// The bytes of a model with these pieces: text, score and type.
    pub(in super::super) fn model(pieces: &[(&str, f32, u8)], charsmap: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (text, score, kind) in pieces {
            let mut piece = field(1, text.as_bytes());
            piece.push(2 << 3 | 5);
            piece.extend(score.to_le_bytes());
            piece.extend([3 << 3, *kind]);
            bytes.extend(field(1, &piece));
        }
        bytes.extend(field(3, &field(2, charsmap)));
        bytes
    }

    fn refusal(bytes: &[u8]) -> String {
        ModelFile::parse(bytes).unwrap_err()
    }

    #[test]
    fn pieces_and_normalizer_are_read() {
        let bytes = model(&[("<unk>", 0.0, 2), ("▁a", -1.5, 1), ("(", 0.0, 4)], b"map");
        let file = ModelFile::parse(&bytes).unwrap();
        assert_eq!(file.pieces[1].text, "▁a");
        assert_eq!(file.pieces[1].score, -1.5);
        assert_eq!(file.pieces[2].kind, Kind::UserDefined);
        assert_eq!(file.normalizer.charsmap, b"map");
        assert!(file.normalizer.add_dummy_prefix && file.normalizer.escape_whitespaces);
    }

    #[test]
    fn every_cut_is_refused_or_ends_between_fields() {
        let bytes = model(&[("<unk>", 0.0, 2), ("▁a", -1.5, 1)], b"map");
        let read: Vec<usize> = (0..bytes.len())
            .filter(|&end| ModelFile::parse(&bytes[..end]).is_ok())
            .collect();
        assert_eq!(read, [16, 31]);
    }

    #[test]
    fn other_models_are_refused_by_name() {
        let with = |trainer: &[u8]| {
            let mut bytes = model(&[("a", 0.0, 1)], b"");
            bytes.extend(field(2, trainer));
            refusal(&bytes)
        };
        assert!(with(&[3 << 3, 3]).contains("of whole words"));
        assert_eq!(
            with(&[0xc0, 1, 1]),
            "`treat_whitespace_as_suffix` is not supported"
        );
        assert_eq!(with(&[0x98, 2, 1]), "`byte_fallback` is not supported");
        assert_eq!(
            refusal(&model(&[("<0x0A>", 0.0, 6)], b"")),
            "piece `<0x0A>` is a byte, which is not supported"
        );
    }

    #[test]
    fn what_is_no_model_is_refused() {
        assert_eq!(refusal(b""), "it has no pieces");
        assert_eq!(
            refusal(b"{\"a\": 1}"),
            "it is not a protocol buffer: wire type 3"
        );
        assert_eq!(
            refusal(&[0x80; 11]),
            "it is not a protocol buffer: a number of more than 64 bits"
        );
        assert_eq!(
            refusal(&[10, 0xff, 0xff, 0xff, 0xff, 0x0f]),
            "it ends within a field"
        );
        assert_eq!(
            refusal(&field(1, &field(1, &[0xff]))),
            "piece 0 is not UTF-8"
        );
        assert_eq!(
            refusal(&model(&[("a", f32::NAN, 1)], b"")),
            "piece `a`: expected a finite score, found NaN"
        );
        assert_eq!(
            refusal(&model(&[("", 0.0, 1)], b"")),
            "piece 0 is empty or has a zero byte"
        );
    }
}
