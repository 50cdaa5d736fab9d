//! The zip format of `torch.save` since PyTorch 1.6.
//!
//! `NAME/data.pkl` is the pickle, `NAME/data/KEY` a storage, `NAME/byteorder` the byte order of its
//! values. Entries are stored uncompressed, so that they can be memory-mapped.
//!
//! Source: PyTorch 2.5, `torch/serialization.py` (`_save`, `_load`).

use std::collections::HashMap;
use std::io::Cursor;
use std::ops::Range;

use zip::{CompressionMethod, ZipArchive};

use crate::checkpoint::pytorch::FORMAT;
use crate::checkpoint::weight_file::WeightFile;
use crate::error::{Error, Result, shown};

const PICKLE: &str = "data.pkl";
const BYTE_ORDER: &str = "byteorder";

/// The parts of an archive.
pub(super) struct Archive<'a> {
    pub(super) pickle: &'a [u8],
    /// The byte range of each storage, by key.
    pub(super) storages: HashMap<String, Range<usize>>,
}

/// Returns true if the bytes start like a zip file.
pub(super) fn is_archive(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04")
}

impl<'a> Archive<'a> {
    pub(super) fn read(file: &'a WeightFile) -> Result<Self> {
        let bytes: &[u8] = &file.bytes;
        let broken = |source| Error::Archive {
            path: file.path.clone(),
            source,
        };
        let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
        let mut names = archive.file_names().map_while(std::result::Result::ok);
        let root = names.find_map(|name| name.strip_suffix(PICKLE).map(String::from));
        let Some(root) = root else {
            return Err(file.malformed(FORMAT, format!("expected an entry `{PICKLE}`, found none")));
        };
        drop(names);
        let mut pickle = None;
        let mut storages = HashMap::new();
        for index in 0..archive.len() {
            let entry = archive.by_index_raw(index).map_err(broken)?;
            let name = entry.name().map_err(broken)?;
            let Some(part) = name.strip_prefix(&root) else {
                continue;
            };
            let key = part.strip_prefix("data/");
            if part == "constants.pkl" {
                return Err(file.refused("is a TorchScript program, not a checkpoint"));
            }
            if key.is_none() && !matches!(part, PICKLE | BYTE_ORDER) {
                continue;
            }
            if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
                let how = if entry.encrypted() {
                    "encrypted"
                } else {
                    "compressed"
                };
                return Err(file.refused(format!(
                    "has the {how} entry `{}`: expected it neither compressed nor encrypted",
                    shown(&name)
                )));
            }
            let range = entry.data_start().and_then(|start| {
                let start = usize::try_from(start).ok()?;
                let end = start.checked_add(usize::try_from(entry.size()).ok()?)?;
                (end <= bytes.len()).then_some(start..end)
            });
            let Some(range) = range else {
                return Err(file.malformed(
                    FORMAT,
                    format!(
                        "the entry `{}` extends past the end of the file",
                        shown(&name)
                    ),
                ));
            };
            match key {
                Some(key) => drop(storages.insert(key.to_string(), range)),
                None if part == PICKLE => pickle = Some(&bytes[range]),
                None if bytes[range.clone()] != *b"little" => {
                    return Err(file.refused("stores values as big-endian: expected little-endian"));
                }
                None => {}
            }
        }
        match pickle {
            Some(pickle) => Ok(Self { pickle, storages }),
            None => {
                Err(file.malformed(FORMAT, format!("expected an entry `{PICKLE}`, found none")))
            }
        }
    }
}
