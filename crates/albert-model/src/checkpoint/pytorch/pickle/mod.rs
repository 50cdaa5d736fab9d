//! A reader for the part of Python's pickle format that tensors need.
//!
//! A pickle is a program for a small stack machine. This one implements the instructions of
//! protocols 1 to 5 and knows the few globals of which tensors are made. Nothing is called and
//! nothing is imported: a call of a known global becomes a value that describes it, which
//! [`tensors`](super::tensors) reads, and any other object becomes a [`Value::Object`] whose class
//! is only a name.
//!
//! Values are in one list and refer to each other by their index in it, so neither depth nor cycles
//! do harm. Texts stay in the file. The list, the stack, the memo, and all copied pairs together
//! have at most [`MOST_VALUES`] entries each, and at most as many as the pickle has bytes, so
//! memory stays below 128 bytes per byte read.
//!
//! Source: CPython 3.11, `pickletools.py`; PyTorch 2.5, `torch/_weights_only_unpickler.py`, for
//! what `torch.load(weights_only=True)` allows.

mod machine;
mod operands;
mod stack;

use machine::Machine;

use crate::checkpoint::pytorch::globals::Global;
use crate::error::shown;

/// The maximum number of values, far more than any ALBERT checkpoint has: the base size has about
/// 500.
const MOST_VALUES: usize = 1 << 19;

/// The index of a value in its pickle's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Id(u32);

/// A value created by a pickle's instructions.
#[derive(Debug)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    /// A float, bytes or a set, which are never part of a tensor.
    Other,
    Int(i64),
    /// An integer of more than eight bytes, in little-endian order.
    Long(&'a [u8]),
    Text(&'a str),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    /// Any other global, by the texts of its module and name. It is not imported.
    Foreign {
        module: Id,
        name: Id,
    },
    /// A function, which is not called, and its arguments.
    Call(Global, Id),
    /// An object of a foreign class or function, which is not created, and the pairs that were set
    /// in it as in a dictionary.
    Object(Id, Vec<(Id, Id)>),
    /// A value outside the pickle, by its id.
    Persistent(Id),
}

/// The reason why a pickle cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It violates the format at this byte.
    Malformed { at: usize, why: String },
    /// It is valid so far, but exceeds the limits or has unsupported instructions.
    Refused(String),
}

type Result<T> = std::result::Result<T, Trouble>;

/// A pickle that has been read.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: Id,
    /// The length of the pickle in bytes.
    pub(super) len: usize,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle at the start of `bytes`.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self> {
        let (values, root, len) = Machine::new(bytes).run()?;
        Ok(Self { values, root, len })
    }

    /// Returns the pickled value.
    pub(super) fn root(&self) -> Id {
        self.root
    }

    /// Returns the value at an index.
    pub(super) fn value(&self, id: Id) -> &Value<'a> {
        &self.values[id.0 as usize]
    }

    /// Returns the id of the value at an index of [`values`](Self::values).
    pub(super) fn id(&self, index: usize) -> Id {
        Id(index as u32) // at most MOST_VALUES
    }

    /// Returns the elements of a tuple or a list.
    pub(super) fn items(&self, id: Id) -> Option<&[Id]> {
        match self.value(id) {
            Value::Tuple(items) | Value::List(items) => Some(items),
            Value::Call(Global::Size, arguments) => match self.value(*arguments) {
                Value::Tuple(items) if items.len() == 1 => match self.value(items[0]) {
                    Value::Tuple(items) | Value::List(items) => Some(items),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns all values, in the order of their creation.
    pub(super) fn values(&self) -> &[Value<'a>] {
        &self.values
    }

    /// Returns the pairs of a dictionary, or of an object that was filled like one.
    pub(super) fn pairs(&self, id: Id) -> Option<&[(Id, Id)]> {
        match self.value(id) {
            Value::Dict(pairs) => Some(pairs),
            Value::Object(_, pairs) if !pairs.is_empty() => Some(pairs),
            _ => None,
        }
    }

    /// Returns the name of the foreign class or function of an object, or of a foreign global
    /// itself, in a form that is safe to show.
    pub(super) fn foreign(&self, id: Id) -> Option<String> {
        let global = match self.value(id) {
            Value::Object(class, _) => *class,
            _ => id,
        };
        match self.value(global) {
            Value::Foreign { module, name } => {
                let part = |id: Id| shown(self.text(id).unwrap_or_default());
                Some(format!("{}.{}", part(*module), part(*name)))
            }
            _ => None,
        }
    }

    /// Returns a text.
    pub(super) fn text(&self, id: Id) -> Option<&'a str> {
        match self.value(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns a non-negative integer.
    pub(super) fn count(&self, id: Id) -> Option<usize> {
        match self.value(id) {
            Value::Int(number) => usize::try_from(*number).ok(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
