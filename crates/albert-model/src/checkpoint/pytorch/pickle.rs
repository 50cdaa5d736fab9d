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

use std::collections::HashMap;

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
        let mut machine = Machine {
            bytes,
            at: 0,
            values: Vec::new(),
            none: None,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            copied: 0,
        };
        let root = loop {
            if let Some(root) = machine.step()? {
                break root;
            }
        };
        Ok(Self {
            values: machine.values,
            root,
            len: machine.at,
        })
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

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value<'a>>,
    /// The shared `None`, which every tensor refers to several times.
    none: Option<Id>,
    stack: Vec<Id>,
    /// The stack heights at the marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// The number of pairs copied from lists to dictionaries.
    copied: usize,
}

impl<'a> Machine<'a> {
    /// Executes one instruction; the last one returns the result.
    fn step(&mut self) -> Result<Option<Id>> {
        let opcode = self.take(1)?[0];
        match opcode {
            // PROTO, FRAME: not needed, because the instructions do not depend on them.
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'.' => return Ok(Some(self.pop()?)),
            b'(' => {
                self.limit(self.marks.len())?;
                self.marks.push(self.stack.len());
            }
            b'0' => drop(self.pop()?),
            b'1' => drop(self.since_mark()?),

            b'N' => {
                let none = match self.none {
                    Some(none) => none,
                    None => self.add(Value::None)?,
                };
                self.none = Some(none);
                self.push_id(none)?;
            }
            0x88 | 0x89 => self.push(Value::Bool(opcode == 0x88))?,
            b'G' => {
                self.take(8)?;
                self.push(Value::Other)?;
            }
            b'K' => self.push_int::<1>()?,
            b'M' => self.push_int::<2>()?,
            b'J' => {
                let number = i32::from_le_bytes(self.array()?);
                self.push(Value::Int(number.into()))?;
            }
            0x8a => {
                let bytes = self.counted::<1>()?;
                self.push(whole_number(bytes))?;
            }
            0x8b => {
                let bytes = self.counted::<4>()?;
                self.push(whole_number(bytes))?;
            }
            // INT, LONG, FLOAT: decimal numbers of protocol 1.
            b'I' | b'L' | b'F' => {
                let line = self.line()?;
                self.push(decimal(line))?;
            }

            b'X' => self.push_text::<4>()?,
            0x8c => self.push_text::<1>()?,
            0x8d => self.push_text::<8>()?,
            // BINSTRING, SHORT_BINSTRING: the strings of Python 2, texts or bytes.
            b'T' => self.push_old_text::<4>()?,
            b'U' => self.push_old_text::<1>()?,
            b'B' => self.push_bytes::<4>()?,
            b'C' => self.push_bytes::<1>()?,
            // BINBYTES8, BYTEARRAY8.
            0x8e | 0x96 => self.push_bytes::<8>()?,

            b')' => self.push(Value::Tuple(Vec::new()))?,
            b't' => {
                let items = self.since_mark()?;
                self.push(Value::Tuple(items))?;
            }
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let start = self.height(count)?;
                let items = self.stack.split_off(start);
                self.push(Value::Tuple(items))?;
            }
            b']' => self.push(Value::List(Vec::new()))?,
            b'l' => {
                let items = self.since_mark()?;
                self.push(Value::List(items))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append([item])?;
            }
            b'e' => {
                let items = self.since_mark()?;
                self.append(items)?;
            }
            b'}' => self.push(Value::Dict(Vec::new()))?,
            b'd' => {
                let items = self.since_mark()?;
                let pairs = self.pairs(&items)?;
                self.push(Value::Dict(pairs))?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.dict()?.push((key, value));
            }
            b'u' => {
                let items = self.since_mark()?;
                let pairs = self.pairs(&items)?;
                self.dict()?.extend(pairs);
            }
            // EMPTY_SET, ADDITEMS, FROZENSET.
            0x8f => self.push(Value::Other)?,
            0x90 => {
                self.since_mark()?;
                self.height(1)?;
            }
            0x91 => {
                self.since_mark()?;
                self.push(Value::Other)?;
            }

            b'c' => {
                let global = self.named_global()?;
                self.push_id(global)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let global = self.global(module, name)?;
                self.push_id(global)?;
            }
            // REDUCE, NEWOBJ: a function or a class, and its arguments.
            b'R' | 0x81 => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                self.call(function, arguments)?;
            }
            // NEWOBJ_EX: with arguments by name.
            0x92 => {
                let (_, arguments, class) = (self.pop()?, self.pop()?, self.pop()?);
                self.call(class, arguments)?;
            }
            // INST, OBJ: a class, named here or first after the mark, and its arguments.
            b'i' => {
                let class = self.named_global()?;
                self.since_mark()?;
                self.push(Value::Object(class, Vec::new()))?;
            }
            b'o' => match self.since_mark()?.first() {
                Some(&class) => self.push(Value::Object(class, Vec::new()))?,
                None => return self.malformed("expected a class after the mark"),
            },
            // BUILD: attributes, such as the `_metadata` of a state dict, which tensors do not use.
            b'b' => {
                self.pop()?;
                self.height(1)?;
            }
            b'2' => {
                let height = self.height(1)?;
                self.push_id(self.stack[height])?;
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Persistent(id))?;
            }

            b'q' => {
                let key = u32::from(self.take(1)?[0]);
                self.remember(key)?;
            }
            b'r' => {
                let key = u32::from_le_bytes(self.array()?);
                self.remember(key)?;
            }
            0x94 => {
                // At most MOST_VALUES.
                let key = self.memo.len() as u32;
                self.remember(key)?;
            }
            b'h' => {
                let key = u32::from(self.take(1)?[0]);
                self.recall(key)?;
            }
            b'j' => {
                let key = u32::from_le_bytes(self.array()?);
                self.recall(key)?;
            }
            _ => {
                let shown = char::from(opcode).escape_default();
                return Err(Trouble::Refused(format!(
                    "has the pickle instruction 0x{opcode:02x} (`{shown}`) at byte {}, which is not supported",
                    self.at - 1
                )));
            }
        }
        Ok(None)
    }

    fn malformed<T>(&self, why: impl Into<String>) -> Result<T> {
        Err(Trouble::Malformed {
            at: self.at,
            why: why.into(),
        })
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        match self.bytes.get(self.at..).and_then(|rest| rest.get(..len)) {
            Some(bytes) => {
                self.at += len;
                Ok(bytes)
            }
            None => self.malformed(format!(
                "expected {len} more bytes of a pickle, found the end"
            )),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("`take` returns N bytes"))
    }

    /// Reads a little-endian number of N bytes, which must fit `usize`.
    fn number<const N: usize>(&mut self) -> Result<u64> {
        let mut wide = [0; 8];
        wide[..N].copy_from_slice(self.take(N)?);
        Ok(u64::from_le_bytes(wide))
    }

    fn line(&mut self) -> Result<&'a str> {
        let rest = &self.bytes[self.at..];
        let Some(len) = rest.iter().position(|&byte| byte == b'\n') else {
            return self.malformed("expected a line, found no end of it");
        };
        let line = self.take(len + 1)?;
        self.utf8(&line[..len])
    }

    fn utf8(&self, bytes: &'a [u8]) -> Result<&'a str> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text),
            Err(_) => self.malformed("expected a text in UTF-8"),
        }
    }

    fn limit(&self, count: usize) -> Result<()> {
        if count < MOST_VALUES {
            return Ok(());
        }
        Err(Trouble::Refused(format!(
            "has more than {MOST_VALUES} values next to its tensors"
        )))
    }

    fn add(&mut self, value: Value<'a>) -> Result<Id> {
        self.limit(self.values.len())?;
        let id = Id(self.values.len() as u32); // at most MOST_VALUES
        self.values.push(value);
        Ok(id)
    }

    fn push(&mut self, value: Value<'a>) -> Result<()> {
        let id = self.add(value)?;
        self.push_id(id)
    }

    fn push_id(&mut self, id: Id) -> Result<()> {
        self.limit(self.stack.len())?;
        self.stack.push(id);
        Ok(())
    }

    fn push_int<const N: usize>(&mut self) -> Result<()> {
        let number = self.number::<N>()?;
        self.push(Value::Int(number as i64)) // of one or two bytes
    }

    fn push_text<const N: usize>(&mut self) -> Result<()> {
        let bytes = self.counted::<N>()?;
        let text = self.utf8(bytes)?;
        self.push(Value::Text(text))
    }

    fn push_old_text<const N: usize>(&mut self) -> Result<()> {
        let bytes = self.counted::<N>()?;
        self.push(std::str::from_utf8(bytes).map_or(Value::Other, Value::Text))
    }

    fn push_bytes<const N: usize>(&mut self) -> Result<()> {
        self.counted::<N>()?;
        self.push(Value::Other)
    }

    fn counted<const N: usize>(&mut self) -> Result<&'a [u8]> {
        let len = self.number::<N>()?;
        self.take(usize::try_from(len).unwrap_or(usize::MAX))
    }

    /// Returns the height of the stack below its top `count` values, which must be above the last
    /// mark.
    fn height(&self, count: usize) -> Result<usize> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(count) {
            Some(height) if height >= floor => Ok(height),
            _ => self.malformed("expected a value on the stack, found none"),
        }
    }

    fn pop(&mut self) -> Result<Id> {
        let height = self.height(1)?;
        let id = self.stack[height];
        self.stack.truncate(height);
        Ok(id)
    }

    fn since_mark(&mut self) -> Result<Vec<Id>> {
        match self.marks.pop() {
            Some(height) => Ok(self.stack.split_off(height)),
            None => self.malformed("expected a mark on the stack, found none"),
        }
    }

    fn pairs(&self, items: &[Id]) -> Result<Vec<(Id, Id)>> {
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return self.malformed("expected a value for every key");
        }
        Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
    }

    fn top(&mut self) -> Result<&mut Value<'a>> {
        let height = self.height(1)?;
        Ok(&mut self.values[self.stack[height].0 as usize])
    }

    /// Appends to the list or the object on the stack. The items of an object are dropped.
    fn append(&mut self, items: impl IntoIterator<Item = Id>) -> Result<()> {
        let at = self.at;
        match self.top()? {
            Value::List(list) => list.extend(items),
            Value::Object(..) | Value::Other => {}
            _ => {
                return Err(Trouble::Malformed {
                    at,
                    why: "expected a list on the stack".into(),
                });
            }
        }
        Ok(())
    }

    fn dict(&mut self) -> Result<&mut Vec<(Id, Id)>> {
        let at = self.at;
        match self.top()? {
            Value::Dict(pairs) | Value::Object(_, pairs) => Ok(pairs),
            _ => Err(Trouble::Malformed {
                at,
                why: "expected a dictionary on the stack".into(),
            }),
        }
    }

    /// Reads the lines with the module and the name of a global.
    fn named_global(&mut self) -> Result<Id> {
        let (module, name) = (self.line()?, self.line()?);
        match Global::find(module, name) {
            Some(global) => self.add(Value::Global(global)),
            None => {
                let (module, name) = (self.add(Value::Text(module))?, self.add(Value::Text(name))?);
                self.add(Value::Foreign { module, name })
            }
        }
    }

    /// Adds the global whose module and name are the given values.
    fn global(&mut self, module: Id, name: Id) -> Result<Id> {
        let text = |id: Id| match self.values[id.0 as usize] {
            Value::Text(text) => Some(text),
            _ => None,
        };
        let (Some(module_text), Some(name_text)) = (text(module), text(name)) else {
            return self.malformed("expected a text on the stack");
        };
        match Global::find(module_text, name_text) {
            Some(global) => self.add(Value::Global(global)),
            None => self.add(Value::Foreign { module, name }),
        }
    }

    fn call(&mut self, function: Id, arguments: Id) -> Result<()> {
        let Value::Global(global) = self.values[function.0 as usize] else {
            return self.push(Value::Object(function, Vec::new()));
        };
        let Value::Tuple(items) = &self.values[arguments.0 as usize] else {
            return self.malformed("expected a tuple of arguments");
        };
        match global {
            Global::OrderedDict => {
                let items = items.clone();
                let pairs = self.ordered(&items)?;
                // Two bytes can refer to a list again, and its pairs would be copied each time.
                self.copied += pairs.len();
                if self.copied > self.bytes.len() {
                    return Err(Trouble::Refused(
                        "creates more pairs than it has bytes".into(),
                    ));
                }
                self.push(Value::Dict(pairs))
            }
            Global::Size
            | Global::RebuildTensor
            | Global::RebuildTensorV3
            | Global::RebuildParameter
            | Global::RebuildFromType => self.push(Value::Call(global, arguments)),
            Global::Storage(_) | Global::UntypedStorage | Global::Type(_) => {
                self.push(Value::Object(function, Vec::new()))
            }
        }
    }

    /// Returns the pairs with which an `OrderedDict` is created: none, or in Python 2 a list of
    /// two-element lists.
    fn ordered(&self, arguments: &[Id]) -> Result<Vec<(Id, Id)>> {
        let Some(list) = arguments.first() else {
            return Ok(Vec::new());
        };
        let wrong = || self.malformed("expected pairs for an OrderedDict");
        let Value::List(pairs) = &self.values[list.0 as usize] else {
            return wrong();
        };
        let mut found = Vec::with_capacity(pairs.len());
        for pair in pairs {
            match &self.values[pair.0 as usize] {
                Value::List(pair) | Value::Tuple(pair) if pair.len() == 2 => {
                    found.push((pair[0], pair[1]))
                }
                _ => return wrong(),
            }
        }
        Ok(found)
    }

    fn remember(&mut self, key: u32) -> Result<()> {
        self.limit(self.memo.len())?;
        let height = self.height(1)?;
        self.memo.insert(key, self.stack[height]);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<()> {
        match self.memo.get(&key) {
            Some(&id) => self.push_id(id),
            None => self.malformed(format!("expected value {key} of the memo, found none")),
        }
    }
}

/// Parses a decimal number, `00` and `01` for false and true, with an `L` after a long one.
fn decimal(line: &str) -> Value<'_> {
    match line {
        "00" | "01" => Value::Bool(line == "01"),
        _ => match line.trim_end_matches('L').parse() {
            Ok(number) => Value::Int(number),
            Err(_) => Value::Other,
        },
    }
}

fn whole_number(bytes: &[u8]) -> Value<'_> {
    if bytes.len() > 8 {
        return Value::Long(bytes);
    }
    let sign = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut wide = [if sign { 0xff } else { 0 }; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(wide))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trouble(bytes: &[u8]) -> String {
        match Pickle::read(bytes).unwrap_err() {
            Trouble::Malformed { at, why } => format!("{at}: {why}"),
            Trouble::Refused(why) => why,
        }
    }

    /// `pickle.dumps({"a": (1, [2, None]), "b": OrderedDict(c=-3)}, protocol=2)`, written by hand.
    const SMALL: &[u8] = b"\x80\x02}q\x00(X\x01\x00\x00\x00aK\x01]q\x01(K\x02Ne\x86q\x02X\x01\x00\x00\x00bccollections\nOrderedDict\n)RX\x01\x00\x00\x00cJ\xfd\xff\xff\xffsu.rest";

    #[test]
    fn dictionaries_tuples_and_numbers_are_read() {
        let pickle = Pickle::read(SMALL).unwrap();
        assert_eq!(&SMALL[pickle.len..], b"rest");
        let Value::Dict(pairs) = pickle.value(pickle.root()) else {
            panic!("{pickle:?}")
        };
        assert_eq!(pickle.text(pairs[0].0), Some("a"));
        let tuple = pickle.items(pairs[0].1).unwrap();
        assert_eq!(pickle.count(tuple[0]), Some(1));
        assert_eq!(pickle.items(tuple[1]).unwrap().len(), 2);
        let Value::Dict(inner) = pickle.value(pairs[1].1) else {
            panic!("{pickle:?}")
        };
        assert!(matches!(pickle.value(inner[0].1), Value::Int(-3)));
        assert_eq!(pickle.count(inner[0].1), None);
    }

    #[test]
    fn a_pickle_that_is_cut_short_is_malformed() {
        let whole = SMALL.len() - "rest".len();
        for length in 0..whole {
            assert!(
                matches!(
                    Pickle::read(&SMALL[..length]),
                    Err(Trouble::Malformed { .. })
                ),
                "{length}"
            );
        }
    }

    #[test]
    fn other_globals_are_names_and_their_objects_stay_closed() {
        let foreign = |bytes: &[u8]| {
            let pickle = Pickle::read(bytes).unwrap();
            pickle.foreign(pickle.root())
        };
        for (bytes, name) in [
            (&b"\x80\x02cposix\nsystem\n."[..], "posix.system"),
            (
                b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00ls\x85R.",
                "posix.system",
            ),
            (
                b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.",
                "builtins.eval",
            ),
            (b"cargparse\nNamespace\n)\x81}b.", "argparse.Namespace"),
            (b"cm\nC\n)}\x92.", "m.C"),
            (b"(im\nC\n.", "m.C"),
            (b"(cm\nC\nK\x01o.", "m.C"),
        ] {
            assert_eq!(foreign(bytes).as_deref(), Some(name), "{bytes:?}");
        }
        assert_eq!(foreign(b"K\x01."), None);
    }

    #[test]
    fn an_object_filled_as_a_dictionary_has_its_pairs() {
        let pickle =
            Pickle::read(b"ccollections\ndefaultdict\n)RK\x01K\x02s(K\x03K\x04u.").unwrap();
        assert_eq!(pickle.pairs(pickle.root()).unwrap().len(), 2);
        // One filled as a list, and sets, keep nothing.
        for bytes in [
            &b"ccollections\ndeque\n)RK\x01a(K\x02e."[..],
            b"\x8f(K\x01\x90.",
            b"(K\x01\x91.",
            b"\x96\x02\x00\x00\x00\x00\x00\x00\x00ab.",
            b"\x8b\x01\x00\x00\x00\x05.",
        ] {
            let pickle = Pickle::read(bytes).unwrap();
            assert_eq!(pickle.pairs(pickle.root()), None, "{bytes:?}");
        }
    }

    #[test]
    fn numbers_in_digits_are_those_of_protocol_1() {
        assert!(matches!(decimal("01"), Value::Bool(true)));
        assert!(matches!(decimal("-12"), Value::Int(-12)));
        assert!(matches!(decimal("1001L"), Value::Int(1001)));
        assert!(matches!(decimal("0.5"), Value::Other));
    }

    #[test]
    fn other_instructions_are_refused_by_name() {
        assert!(trouble(b"\x80\x02\x82").contains("0x82 (`\\u{82}`) at byte 2"));
    }

    #[test]
    fn the_stack_never_falls_below_a_mark_or_the_ground() {
        for bytes in [
            &b"."[..],
            b"K\x01(.",
            b"t.",
            b"K\x01(s.",
            b"\x85.",
            b"(K\x01u.",
            b"h\x01.",
            b"K\x01a.",
            b"R.",
        ] {
            assert!(
                matches!(Pickle::read(bytes), Err(Trouble::Malformed { .. })),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn neither_depth_nor_cycles_nor_absurd_lengths_do_harm() {
        let deep = [&b"]"[..], &[0x85; 100_000], b"."].concat();
        assert!(Pickle::read(&deep).is_ok());
        assert!(Pickle::read(b"]q\x00h\x00a.").is_ok());
        assert!(trouble(b"X\xff\xff\xff\xff").contains("found the end"));
        assert!(trouble(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff").contains("found the end"));
        assert!(trouble(&vec![b']'; MOST_VALUES + 1]).contains("more than 524288 values"));
    }

    #[test]
    fn a_list_copied_into_many_dictionaries_is_refused() {
        // The class, a pair of Nones and a list of that pair, each kept in the memo.
        let mut pickle = b"\x80\x02ccollections\nOrderedDict\nq\x00NN\x86q\x01](".to_vec();
        for _ in 0..1000 {
            pickle.extend(b"h\x01");
        }
        pickle.extend(b"eq\x02");
        for _ in 0..1000 {
            pickle.extend(b"h\x00h\x02\x85R0");
        }
        pickle.extend(b".");
        assert!(
            trouble(&pickle).contains("more pairs than it has bytes"),
            "{}",
            trouble(&pickle)
        );
    }

    #[test]
    fn long_numbers_keep_their_sign() {
        assert!(matches!(whole_number(&[]), Value::Int(0)));
        assert!(matches!(whole_number(&[0xff]), Value::Int(-1)));
        assert!(matches!(whole_number(&[0xff, 0]), Value::Int(255)));
        assert!(matches!(whole_number(&[0; 9]), Value::Long(_)));
    }
}
