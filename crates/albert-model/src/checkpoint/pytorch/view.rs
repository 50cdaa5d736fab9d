//! A tensor in a pickle: a view of a storage, as the call that rebuilds it describes both.

use std::collections::HashMap;

use crate::checkpoint::pytorch::globals::{Element, Global};
use crate::checkpoint::pytorch::pickle::{Id, Pickle, Value};

/// The maximum number of axes, more than any tensor of a model has.
const MOST_AXES: usize = 8;

/// A tensor in a pickle: a view of a storage.
#[derive(Debug, PartialEq)]
pub(super) struct View<'a> {
    pub(super) storage: Storage<'a>,
    /// The number of elements before the first one.
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    /// In elements.
    pub(super) strides: Vec<usize>,
}

/// The values of which tensors are views.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Storage<'a> {
    pub(super) key: &'a str,
    pub(super) element: Element,
    /// The number of elements.
    pub(super) elements: usize,
}

/// The maximum nesting of a tensor in parameters and types.
const DEEPEST_TENSOR: usize = 4;

impl<'a> View<'a> {
    pub(super) fn read(pickle: &Pickle<'a>, id: Id) -> Option<Self> {
        let Value::Call(mut global, mut arguments) = *pickle.value(id) else {
            return None;
        };
        for _ in 0..DEEPEST_TENSOR {
            match global {
                // A parameter wraps its tensor.
                Global::RebuildParameter => {
                    let tensor = *pickle.items(arguments)?.first()?;
                    let Value::Call(inner, its) = *pickle.value(tensor) else {
                        return None;
                    };
                    (global, arguments) = (inner, its);
                }
                Global::RebuildFromType => {
                    let [function, _, its, ..] = *pickle.items(arguments)? else {
                        return None;
                    };
                    let Value::Global(inner) = *pickle.value(function) else {
                        return None;
                    };
                    (global, arguments) = (inner, its);
                }
                _ => break,
            }
        }
        let arguments = pickle.items(arguments)?;
        let [storage, offset, shape, strides, ..] = *arguments else {
            return None;
        };
        let typed = match global {
            Global::RebuildTensor => None,
            Global::RebuildTensorV3 => match pickle.value(*arguments.get(6)?) {
                Value::Global(Global::Type(element)) => Some(*element),
                _ => return None,
            },
            _ => return None,
        };
        let axes = |id: Id| -> Option<Vec<usize>> {
            let sizes = pickle.items(id).filter(|sizes| sizes.len() <= MOST_AXES)?;
            sizes.iter().map(|size| pickle.count(*size)).collect()
        };
        let (shape, strides) = (axes(shape)?, axes(strides)?);
        let view = Self {
            storage: Storage::read(pickle, storage, typed)?,
            offset: pickle.count(offset)?,
            shape,
            strides,
        };
        (view.shape.len() == view.strides.len()).then_some(view)
    }
}

impl<'a> Storage<'a> {
    /// Reads `("storage", class, key, device, elements)`, in the legacy format followed by a view,
    /// which is `None` in any file with an ALBERT.
    fn read(pickle: &Pickle<'a>, id: Id, typed: Option<Element>) -> Option<Self> {
        match *pickle.value(id) {
            Value::Persistent(name) => Self::named(pickle, name, typed),
            _ => None,
        }
    }

    fn named(pickle: &Pickle<'a>, id: Id, typed: Option<Element>) -> Option<Self> {
        let [kind, class, key, _, elements, ref view @ ..] = *pickle.items(id)? else {
            return None;
        };
        let whole = match view {
            [] => true,
            [view] => matches!(pickle.value(*view), Value::None),
            _ => false,
        };
        if pickle.text(kind) != Some("storage") || !whole {
            return None;
        }
        let (element, elements) = match (pickle.value(class), typed) {
            (Value::Global(Global::Storage(element)), None) => (*element, pickle.count(elements)?),
            // The size of an untyped storage is in bytes.
            (Value::Global(Global::UntypedStorage), Some(element)) => {
                (element, pickle.count(elements)? / element.len())
            }
            _ => return None,
        };
        Some(Self {
            key: pickle.text(key)?,
            element,
            elements,
        })
    }
}

/// Returns every typed storage by its key, even if no tensor of the model needs it.
pub(super) fn storages<'a>(pickle: &Pickle<'a>) -> HashMap<&'a str, Storage<'a>> {
    let named = pickle.values().iter().filter_map(|value| match *value {
        Value::Persistent(id) => Storage::named(pickle, id, None),
        _ => None,
    });
    named.map(|storage| (storage.key, storage)).collect()
}

/// Returns true if a value is a tensor, on its own or in a parameter.
pub(super) fn is_tensor(pickle: &Pickle<'_>, id: Id) -> bool {
    use Global::{RebuildFromType, RebuildParameter, RebuildTensor, RebuildTensorV3};
    matches!(
        pickle.value(id),
        Value::Call(
            RebuildTensor | RebuildTensorV3 | RebuildParameter | RebuildFromType,
            _
        )
    )
}
