//! The format of `torch.save` before PyTorch 1.6: five pickles, then the storages.
//!
//! ```text
//! magic number | protocol version | system | the object | keys of the storages | storages
//! ```
//!
//! A storage consists of its number of elements, in eight bytes, and the elements. Their type is
//! only given by the tensors of the fourth pickle.
//!
//! Source: PyTorch 2.5, `torch/serialization.py` (`_legacy_save`, `_legacy_load`).

use std::collections::HashMap;
use std::ops::Range;

use crate::checkpoint::pytorch::pickle::{Id, Pickle, Value};
use crate::checkpoint::pytorch::view::storages;
use crate::checkpoint::pytorch::{FORMAT, error};
use crate::checkpoint::weight_file::WeightFile;
use crate::error::{Result, shown};

/// 0x1950a86a20f9469cfc6c in little-endian order.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const PROTOCOL: usize = 1001;
/// The maximum length of the pickle of the magic number, in any protocol.
const FIRST_PICKLE: usize = 24;
/// The first byte of a pickle in protocol 2 or later.
const PICKLE_START: u8 = 0x80;

/// The parts of a legacy file.
pub(super) struct Legacy<'a> {
    pub(super) pickle: Pickle<'a>,
    /// The byte range of each storage's elements, by key.
    pub(super) storages: HashMap<String, Range<usize>>,
}

/// Returns true if the bytes start with the pickle of the magic number.
pub(super) fn is_legacy(bytes: &[u8]) -> bool {
    // The number follows the protocol, a frame in later protocols, and the instruction with its
    // length.
    let start = &bytes[..bytes.len().min(FIRST_PICKLE)];
    start.first() == Some(&PICKLE_START) && start.windows(MAGIC.len()).any(|window| window == MAGIC)
}

impl<'a> Legacy<'a> {
    pub(super) fn read(file: &'a WeightFile) -> Result<Self> {
        let bytes: &[u8] = &file.bytes;
        let mut at = 0;
        let mut next = || -> Result<Pickle<'a>> {
            let pickle = Pickle::read(&bytes[at..]).map_err(|trouble| error(file, trouble))?;
            at += pickle.len;
            Ok(pickle)
        };
        let (magic, protocol, system) = (next()?, next()?, next()?);
        if !matches!(magic.value(magic.root()), Value::Long(number) if *number == MAGIC) {
            return Err(file.malformed(FORMAT, "expected PyTorch's magic number first"));
        }
        if protocol.count(protocol.root()) != Some(PROTOCOL) {
            return Err(file.malformed(FORMAT, format!("expected protocol {PROTOCOL}")));
        }
        refuse_big_endian(file, &system)?;
        let (object, keys) = (next()?, next()?);
        let Some(keys) = keys.items(keys.root()).map(|keys_of| texts(&keys, keys_of)) else {
            return Err(file.malformed(FORMAT, "expected a list of storage keys"));
        };
        let described = storages(&object);
        let mut places = HashMap::new();
        for key in keys {
            let Some(storage) = key.and_then(|key| described.get(key)) else {
                let key = key.map(shown).unwrap_or_default();
                return Err(file.malformed(
                    FORMAT,
                    format!("the type of storage `{key}` is unknown: no tensor refers to it"),
                ));
            };
            let range = (|| {
                let counted = bytes.get(at..)?.first_chunk::<8>()?;
                let start = at + counted.len();
                let elements = usize::try_from(u64::from_le_bytes(*counted)).ok()?;
                let end = start.checked_add(elements.checked_mul(storage.element.len())?)?;
                (end <= bytes.len()).then_some(start..end)
            })();
            let Some(range) = range else {
                let key = shown(storage.key);
                return Err(file.malformed(
                    FORMAT,
                    format!("storage `{key}` extends past the end of the file"),
                ));
            };
            at = range.end;
            places.insert(storage.key.to_string(), range);
        }
        Ok(Self {
            pickle: object,
            storages: places,
        })
    }
}

fn texts<'a>(pickle: &Pickle<'a>, ids: &[Id]) -> Vec<Option<&'a str>> {
    ids.iter().map(|id| pickle.text(*id)).collect()
}

fn refuse_big_endian(file: &WeightFile, system: &Pickle<'_>) -> Result<()> {
    let Value::Dict(pairs) = system.value(system.root()) else {
        return Err(file.malformed(FORMAT, "expected a dictionary that describes the system"));
    };
    let little = pairs
        .iter()
        .find(|(key, _)| system.text(*key) == Some("little_endian"));
    match little.map(|(_, value)| system.value(*value)) {
        Some(Value::Bool(true)) => Ok(()),
        Some(Value::Bool(false)) => {
            Err(file.refused("stores values as big-endian: expected little-endian"))
        }
        _ => Err(file.malformed(
            FORMAT,
            "expected `little_endian` in the dictionary that describes the system",
        )),
    }
}
