//! Python's pickle format, as far as tensors need it.
//!
//! A pickle is a program for a small stack machine. This one knows the instructions that
//! `torch.save` writes and the few globals that make up tensors; any other is refused by name.
//! Nothing is called: a call of a known global becomes a value that says so, and
//! [`tensors`](super::tensors) makes sense of it.
//!
//! Values live in one list and name each other by their place in it, so that neither depth nor
//! cycles can harm. Texts stay in the file. The list, the stack and the memo have at most
//! [`MOST_VALUES`] entries each and no more than the pickle has bytes, and so have all pairs copied
//! together: memory stays below 128 bytes for each byte read.
//!
//! Source: CPython 3.11, `pickletools.py`; PyTorch 2.5, `torch/_weights_only_unpickler.py` for the
//! instructions that suffice.

use std::collections::HashMap;

use crate::checkpoint::pytorch::globals::Global;
use crate::error::shown;

/// Far more than the checkpoint of any ALBERT: base has some 500.
const MOST_VALUES: usize = 1 << 19;

/// The place of a value in its pickle's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Id(u32);

/// What a pickle's instructions make.
#[derive(Debug)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    /// A fraction, or bytes: nothing of a tensor.
    Other,
    Int(i64),
    /// A whole number of more than eight bytes, little end first.
    Long(&'a [u8]),
    Text(&'a str),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    /// A function that is not called, and its arguments.
    Call(Global, Id),
    /// What lies outside the pickle, by its name.
    Persistent(Id),
}

/// Why a pickle is not read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It breaks the format, at this byte.
    Malformed { at: usize, why: String },
    /// It is sound as far as read, and asks for what tensors do not need.
    Refused(String),
}

type Result<T> = std::result::Result<T, Trouble>;

/// A pickle that has been read.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: Id,
    /// Bytes that it takes, of those it was read from.
    pub(super) len: usize,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle that `bytes` begins with.
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

    /// What the pickle is of.
    pub(super) fn root(&self) -> Id {
        self.root
    }

    /// The value in a place.
    pub(super) fn value(&self, id: Id) -> &Value<'a> {
        &self.values[id.0 as usize]
    }

    /// The elements of a tuple or a list.
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

    /// Every value, in the order in which they were made.
    pub(super) fn values(&self) -> &[Value<'a>] {
        &self.values
    }

    /// A text.
    pub(super) fn text(&self, id: Id) -> Option<&'a str> {
        match self.value(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number that counts something.
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
    /// The one `None`, which a tensor names more than once.
    none: Option<Id>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// Pairs that went from lists into dictionaries.
    copied: usize,
}

impl<'a> Machine<'a> {
    /// Does one instruction; the last one gives the result.
    fn step(&mut self) -> Result<Option<Id>> {
        let opcode = self.take(1)?[0];
        match opcode {
            // PROTO, FRAME: how the rest is written, which each instruction says itself.
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
                let len = usize::from(self.take(1)?[0]);
                let bytes = self.take(len)?;
                self.push(whole_number(bytes))?;
            }

            b'X' => self.push_text::<4>()?,
            0x8c => self.push_text::<1>()?,
            0x8d => self.push_text::<8>()?,
            // BINSTRING, SHORT_BINSTRING: texts by Python 2.
            b'T' => self.push_text::<4>()?,
            b'U' => self.push_text::<1>()?,
            b'B' => self.push_bytes::<4>()?,
            b'C' => self.push_bytes::<1>()?,

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
            b'a' => {
                let item = self.pop()?;
                self.list()?.push(item);
            }
            b'e' => {
                let items = self.since_mark()?;
                self.list()?.extend(items);
            }
            b'}' => self.push(Value::Dict(Vec::new()))?,
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.dict()?.push((key, value));
            }
            b'u' => {
                let items = self.since_mark()?;
                let pairs = self.pairs(&items)?;
                self.dict()?.extend(pairs);
            }

            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push_global(module, name)?;
            }
            0x93 => {
                let (name, module) = (self.pop_text()?, self.pop_text()?);
                self.push_global(module, name)?;
            }
            b'R' => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                self.call(function, arguments)?;
            }
            // BUILD: attributes, such as the `_metadata` of a state dict. Tensors keep none there.
            b'b' => drop(self.pop()?),
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
                    "has the pickle instruction 0x{opcode:02x} (`{shown}`) at byte {}, which no tensor needs",
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
        Ok(self
            .take(N)?
            .try_into()
            .expect("take gives as many bytes as asked"))
    }

    /// A number of N bytes, little end first, that is no length beyond what `usize` counts.
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
            "has more than {MOST_VALUES} values beside its tensors"
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

    fn push_bytes<const N: usize>(&mut self) -> Result<()> {
        self.counted::<N>()?;
        self.push(Value::Other)
    }

    fn counted<const N: usize>(&mut self) -> Result<&'a [u8]> {
        let len = self.number::<N>()?;
        self.take(usize::try_from(len).unwrap_or(usize::MAX))
    }

    /// The height of the stack below its upper `count` values, none of them under a mark.
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

    fn pop_text(&mut self) -> Result<&'a str> {
        let id = self.pop()?;
        match &self.values[id.0 as usize] {
            Value::Text(text) => Ok(text),
            _ => self.malformed("expected a text on the stack"),
        }
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

    fn list(&mut self) -> Result<&mut Vec<Id>> {
        let at = self.at;
        match self.top()? {
            Value::List(items) => Ok(items),
            _ => Err(Trouble::Malformed {
                at,
                why: "expected a list on the stack".into(),
            }),
        }
    }

    fn dict(&mut self) -> Result<&mut Vec<(Id, Id)>> {
        let at = self.at;
        match self.top()? {
            Value::Dict(pairs) => Ok(pairs),
            _ => Err(Trouble::Malformed {
                at,
                why: "expected a dictionary on the stack".into(),
            }),
        }
    }

    fn push_global(&mut self, module: &str, name: &str) -> Result<()> {
        match Global::find(module, name) {
            Some(global) => self.push(Value::Global(global)),
            None => Err(Trouble::Refused(format!(
                "asks for `{}.{}`, which no tensor needs; nothing in a file is executed",
                shown(module),
                shown(name)
            ))),
        }
    }

    fn call(&mut self, function: Id, arguments: Id) -> Result<()> {
        let Value::Global(global) = self.values[function.0 as usize] else {
            return self.malformed("expected one of the known globals to be called");
        };
        let Value::Tuple(items) = &self.values[arguments.0 as usize] else {
            return self.malformed("expected a tuple of arguments");
        };
        match global {
            Global::OrderedDict => {
                let items = items.clone();
                let pairs = self.ordered(&items)?;
                // A list can be named again in two bytes, and its pairs copied each time.
                self.copied += pairs.len();
                if self.copied > self.bytes.len() {
                    return Err(Trouble::Refused(
                        "makes more pairs than it has bytes".into(),
                    ));
                }
                self.push(Value::Dict(pairs))
            }
            Global::Size
            | Global::RebuildTensor
            | Global::RebuildTensorV3
            | Global::RebuildParameter => self.push(Value::Call(global, arguments)),
            Global::Storage(_) | Global::UntypedStorage | Global::Type(_) => {
                self.malformed("expected a function, found a type to be called")
            }
        }
    }

    /// The pairs that an `OrderedDict` is made with: none, or by Python 2 a list of two-element
    /// lists.
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
    fn other_globals_and_instructions_are_refused_by_name() {
        assert!(trouble(b"\x80\x02cposix\nsystem\n").contains("`posix.system`"));
        assert!(trouble(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93").contains("`builtins.eval`"));
        assert!(trouble(b"ctorch\nload\n").contains("`torch.load`"));
        assert!(trouble(b"\x80\x02i").contains("0x69 (`i`) at byte 2"));
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
