//! A `spiece.model` file: SentencePiece's `ModelProto`, a protocol buffer.
//!
//! Only the fields that decide how text is cut are read; the rest is passed over. The reader is
//! strict: what is not well-formed, or would be cut in a way that is not computed here, is refused.
//! It borrows from the file, and what it allocates grows with the number of pieces alone.
//!
//! Source: google/sentencepiece 0.2.1, `src/sentencepiece_model.proto`.

/// What the file says.
#[derive(Debug)]
pub(super) struct ModelFile<'a> {
    /// The vocabulary; a piece's place is its id.
    pub(super) pieces: Vec<Piece<'a>>,
    /// How text is normalized.
    pub(super) normalizer: NormalizerSpec<'a>,
}

/// One piece of the vocabulary.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece<'a> {
    pub(super) text: &'a str,
    /// The logarithm of its probability, where it is a normal one.
    pub(super) score: f32,
    pub(super) kind: Kind,
}

/// What a piece is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Stands for its text.
    Normal,
    /// Stands for what no other piece covers.
    Unknown,
    /// Has an id and no text.
    Control,
    /// Stands for its text, which is not normalized.
    UserDefined,
    /// Never chosen.
    Unused,
}

/// How text is normalized.
#[derive(Debug, Clone, Copy)]
pub(super) struct NormalizerSpec<'a> {
    /// The compiled map, or nothing.
    pub(super) charsmap: &'a [u8],
    /// A space is put before the text.
    pub(super) add_dummy_prefix: bool,
    /// Spaces at the ends are dropped, and those between words become one.
    pub(super) remove_extra_whitespaces: bool,
    /// A space is written as ▁.
    pub(super) escape_whitespaces: bool,
}

/// What a file is not, in words.
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
        let mut fields = Fields(bytes);
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => pieces.push(piece(value.bytes("pieces")?, pieces.len())?),
                2 => check_trainer(value.bytes("trainer_spec")?)?,
                3 => read_normalizer(value.bytes("normalizer_spec")?, &mut normalizer)?,
                _ => {}
            }
        }
        if pieces.is_empty() {
            return Err("it has no pieces".to_string());
        }
        Ok(Self { pieces, normalizer })
    }
}

fn piece(message: &[u8], id: usize) -> Result<Piece<'_>, Refusal> {
    let (mut text, mut score, mut kind) = ("", 0.0, 1);
    let mut fields = Fields(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => {
                text = std::str::from_utf8(value.bytes("piece")?)
                    .map_err(|_| format!("piece {id} is not UTF-8"))?;
            }
            2 => score = value.float("score")?,
            3 => kind = value.number("type")?,
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
            return Err(format!(
                "piece `{text}` stands for a byte, which is not supported"
            ));
        }
        other => {
            return Err(format!(
                "piece {id}: expected a type from 1 to 6, found {other}"
            ));
        }
    };
    if text.is_empty() || text.contains('\0') {
        return Err(format!("piece {id} is empty or holds a zero byte"));
    }
    if !score.is_finite() {
        return Err(format!(
            "piece `{text}`: expected a finite score, found {score}"
        ));
    }
    Ok(Piece { text, score, kind })
}

/// Refuses the ways of cutting text that are not computed here.
fn check_trainer(message: &[u8]) -> Result<(), Refusal> {
    let mut fields = Fields(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            3 => match value.number("model_type")? {
                1 => {}
                2 => return Err("its model is BPE: expected unigram".to_string()),
                3 => return Err("its model is of whole words: expected unigram".to_string()),
                4 => return Err("its model is of characters: expected unigram".to_string()),
                other => return Err(format!("its model type is {other}: expected 1, unigram")),
            },
            24 if value.number("treat_whitespace_as_suffix")? != 0 => {
                return Err("`treat_whitespace_as_suffix` is not supported".to_string());
            }
            35 if value.number("byte_fallback")? != 0 => {
                return Err("`byte_fallback` is not supported".to_string());
            }
            _ => {}
        }
    }
    Ok(())
}

fn read_normalizer<'a>(message: &'a [u8], spec: &mut NormalizerSpec<'a>) -> Result<(), Refusal> {
    let mut fields = Fields(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            2 => spec.charsmap = value.bytes("precompiled_charsmap")?,
            3 => spec.add_dummy_prefix = value.number("add_dummy_prefix")? != 0,
            4 => spec.remove_extra_whitespaces = value.number("remove_extra_whitespaces")? != 0,
            5 => spec.escape_whitespaces = value.number("escape_whitespaces")? != 0,
            _ => {}
        }
    }
    Ok(())
}

/// A value as the wire has it.
#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Varint(u64),
    Fixed64,
    Bytes(&'a [u8]),
    Fixed32([u8; 4]),
}

impl<'a> Value<'a> {
    fn bytes(self, name: &str) -> Result<&'a [u8], Refusal> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(format!("`{name}` is not of the type it must have")),
        }
    }

    fn number(self, name: &str) -> Result<u64, Refusal> {
        match self {
            Self::Varint(number) => Ok(number),
            _ => Err(format!("`{name}` is not of the type it must have")),
        }
    }

    fn float(self, name: &str) -> Result<f32, Refusal> {
        match self {
            Self::Fixed32(bytes) => Ok(f32::from_le_bytes(bytes)),
            _ => Err(format!("`{name}` is not of the type it must have")),
        }
    }
}

/// The fields of a message that are not read yet.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The next field's number and value.
    fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, Refusal> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed64)?,
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            5 => match self.take(4)?.try_into() {
                Ok(bytes) => Value::Fixed32(bytes),
                Err(_) => return Err(cut()),
            },
            wire => return Err(format!("it is not a protocol buffer: wire type {wire}")),
        };
        match tag >> 3 {
            0 => Err("it is not a protocol buffer: field 0".to_string()),
            number => Ok(Some((number, value))),
        }
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Refusal> {
        let length = usize::try_from(length).map_err(|_| cut())?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(cut)?;
        self.0 = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, Refusal> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let &[byte] = self.take(1)? else {
                return Err(cut());
            };
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err("it is not a protocol buffer: a number of more than 64 bits".to_string())
    }
}

fn cut() -> Refusal {
    "it ends within a field".to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

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
        assert_eq!(with(&[3 << 3, 2]), "its model is BPE: expected unigram");
        assert_eq!(
            with(&[0xc0, 1, 1]),
            "`treat_whitespace_as_suffix` is not supported"
        );
        assert_eq!(with(&[0x98, 2, 1]), "`byte_fallback` is not supported");
        assert_eq!(
            refusal(&model(&[("<0x0A>", 0.0, 6)], b"")),
            "piece `<0x0A>` stands for a byte, which is not supported"
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
            "piece 0 is empty or holds a zero byte"
        );
    }
}
