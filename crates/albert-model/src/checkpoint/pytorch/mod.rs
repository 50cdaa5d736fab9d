//! PyTorch's files: zip archives since 1.6, a row of pickles before.
//!
//! Either holds a pickle that says which tensor is which part of which storage; the storages lie in
//! the file as they are, and tensors point there.

mod archive;
mod globals;
mod legacy;
mod pickle;
mod tensors;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::checkpoint::stored::{StoredTensor, WeightFile, element_len};
use crate::error::{Error, Result, shown};
use pickle::{Pickle, Trouble};
use tensors::{StateDict, View};

/// What errors call the format.
const FORMAT: &str = "PyTorch file";

/// A file's tensors, and what there is to say of how they were found.
pub(super) struct Contents {
    pub(super) tensors: Vec<(String, StoredTensor)>,
    pub(super) form: &'static str,
    pub(super) choices: Vec<String>,
}

/// Whether the bytes begin as either form does.
pub(super) fn is_pytorch(bytes: &[u8]) -> bool {
    archive::is_archive(bytes) || legacy::is_legacy(bytes)
}

/// Reads the tensors of one file, in either form.
pub(super) fn read(file: &Arc<WeightFile>) -> Result<Contents> {
    let bytes: &[u8] = &file.bytes;
    if archive::is_archive(bytes) {
        let archive = archive::Archive::read(file)?;
        let pickle = Pickle::read(archive.pickle).map_err(|trouble| error(file, trouble))?;
        contents(file, &pickle, &archive.storages, "zip form")
    } else if legacy::is_legacy(bytes) {
        let legacy = legacy::Legacy::read(file)?;
        contents(file, &legacy.pickle, &legacy.storages, "legacy form")
    } else {
        Err(file.malformed(
            FORMAT,
            "expected a zip archive or a row of pickles, found neither",
        ))
    }
}

fn contents(
    file: &Arc<WeightFile>,
    pickle: &Pickle<'_>,
    storages: &HashMap<String, Range<usize>>,
    form: &'static str,
) -> Result<Contents> {
    let found = StateDict::find(pickle)
        .map_err(|expected| file.malformed(FORMAT, format!("expected {expected}")))?;
    let mut tensors = Vec::with_capacity(found.tensors.len());
    for (name, view) in found.tensors {
        match stored(file, view, storages) {
            Ok(tensor) => tensors.push((name.to_string(), tensor)),
            Err(why) => {
                return Err(file.malformed(FORMAT, format!("tensor `{}`: {why}", shown(name))));
            }
        }
    }
    let mut choices = Vec::new();
    if !found.wrappers.is_empty() {
        let mut choice = format!("the tensors under `{}`", shown(&found.wrappers.join(".")));
        if !found.beside.is_empty() {
            let beside: Vec<_> = found
                .beside
                .iter()
                .map(|key| format!("`{}`", shown(key)))
                .collect();
            choice.push_str(&format!("; beside it, and not read: {}", beside.join(", ")));
        }
        choices.push(choice);
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
    let element = element_len(storage.dtype);
    let expected = storage.elements.checked_mul(element);
    if expected != Some(range.len()) {
        let (elements, found) = (storage.elements, range.len());
        return Err(format!(
            "storage `{key}`: expected {elements} × {element} bytes, found {found}"
        ));
    }
    let outside = || {
        let View {
            offset,
            shape,
            strides,
            ..
        } = &view;
        format!(
            "shape {shape:?}, strides {strides:?} from element {offset} on lead out of storage `{key}` with \
             {} elements",
            storage.elements
        )
    };
    if view.offset > storage.elements {
        return Err(outside());
    }
    let range = range.start + view.offset * element..range.end;
    StoredTensor::strided(
        file,
        storage.dtype,
        view.shape.clone(),
        view.strides.clone(),
        range,
    )
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
