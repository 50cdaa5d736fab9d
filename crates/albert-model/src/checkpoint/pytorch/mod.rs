//! Reads PyTorch files: zip archives since 1.6, a sequence of pickles before.
//!
//! Either format holds a pickle that describes each tensor as a view of a storage. The storages are
//! uncompressed in the file, and tensors refer to them. Objects that are not tensors are not read.

mod archive;
mod globals;
mod legacy;
mod pickle;
mod state_dict;
mod view;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::checkpoint::stored::StoredTensor;
use crate::checkpoint::weight_file::WeightFile;
use crate::error::{Error, Result, shown};
use globals::Element;
use pickle::{Pickle, Trouble};
use state_dict::{Entry, StateDict, foreign_names};
use view::View;

/// The format's name in errors.
const FORMAT: &str = "PyTorch file";

/// A file's tensors, and a report of how they were found.
pub(super) struct Contents {
    pub(super) tensors: Vec<(String, StoredTensor)>,
    pub(super) form: &'static str,
    pub(super) choices: Vec<String>,
}

/// Returns true if the bytes start like either format.
pub(super) fn is_pytorch(bytes: &[u8]) -> bool {
    archive::is_archive(bytes) || legacy::is_legacy(bytes)
}

/// Reads the tensors of one file, in either format.
pub(super) fn read(file: &Arc<WeightFile>) -> Result<Contents> {
    let bytes: &[u8] = &file.bytes;
    if archive::is_archive(bytes) {
        let archive = archive::Archive::read(file)?;
        let pickle = Pickle::read(archive.pickle).map_err(|trouble| error(file, trouble))?;
        contents(file, &pickle, &archive.storages, "zip")
    } else if legacy::is_legacy(bytes) {
        let legacy = legacy::Legacy::read(file)?;
        contents(file, &legacy.pickle, &legacy.storages, "legacy")
    } else {
        Err(file.malformed(
            FORMAT,
            "expected a zip archive or a sequence of pickles, found neither",
        ))
    }
}

fn contents(
    file: &Arc<WeightFile>,
    pickle: &Pickle<'_>,
    storages: &HashMap<String, Range<usize>>,
    form: &'static str,
) -> Result<Contents> {
    let found = StateDict::find(pickle).map_err(|why| {
        if why.starts_with("holds ") {
            file.refused(why)
        } else {
            file.malformed(FORMAT, why)
        }
    })?;
    let mut tensors = Vec::with_capacity(found.entries.len());
    for (name, entry) in found.entries {
        let tensor = match entry {
            Entry::Tensor(view) => stored(file, view, storages).map_err(|why| {
                file.malformed(FORMAT, format!("tensor `{}`: {why}", shown(name)))
            })?,
            Entry::Object(class) => {
                StoredTensor::unread(file, Vec::new(), format!("an object from `{class}`"))
            }
        };
        tensors.push((name.to_string(), tensor));
    }
    let quoted = |keys: &[&str]| {
        let quoted: Vec<_> = keys.iter().map(|key| format!("`{}`", shown(key))).collect();
        quoted.join(", ")
    };
    let mut choices = Vec::new();
    if !found.wrappers.is_empty() {
        let mut choice = format!("the tensors under `{}`", shown(&found.wrappers.join(".")));
        if !found.others.is_empty() {
            choice.push_str(&format!(
                "; not read, next to them: {}",
                quoted(&found.others)
            ));
        }
        choices.push(choice);
    }
    let foreign = foreign_names(pickle);
    if !foreign.is_empty() {
        choices.push(format!(
            "not read: objects from `{}`; nothing in a file is executed",
            foreign.join("`, `")
        ));
    }
    Ok(Contents {
        tensors,
        form,
        choices,
    })
}

fn stored(
    file: &Arc<WeightFile>,
    view: View<'_>,
    storages: &HashMap<String, Range<usize>>,
) -> std::result::Result<StoredTensor, String> {
    let storage = view.storage;
    let key = shown(storage.key);
    let Some(range) = storages.get(storage.key) else {
        return Err(format!("no storage `{key}` in the file"));
    };
    let element = storage.element.len();
    let expected = storage.elements.checked_mul(element);
    if expected != Some(range.len()) {
        let (elements, found) = (storage.elements, range.len());
        return Err(format!(
            "storage `{key}`: expected {elements} × {element} bytes, found {found}"
        ));
    }
    let dtype = match storage.element {
        Element::Read(dtype) => dtype,
        Element::Unread { name, .. } => {
            return Ok(StoredTensor::unread(file, view.shape, name.to_string()));
        }
    };
    let outside = || {
        let View {
            offset,
            shape,
            strides,
            ..
        } = &view;
        format!(
            "shape {shape:?} and strides {strides:?} from element {offset} on exceed storage \
             `{key}` of {} elements",
            storage.elements
        )
    };
    if view.offset > storage.elements {
        return Err(outside());
    }
    let range = range.start + view.offset * element..range.end;
    StoredTensor::strided(file, dtype, view.shape.clone(), view.strides.clone(), range)
        .ok_or_else(outside)
}

fn error(file: &WeightFile, trouble: Trouble) -> Error {
    match trouble {
        Trouble::Malformed { at, why } => {
            file.malformed(FORMAT, format!("{why}, at byte {at} of the pickle"))
        }
        Trouble::Refused(why) => file.refused(why),
    }
}
