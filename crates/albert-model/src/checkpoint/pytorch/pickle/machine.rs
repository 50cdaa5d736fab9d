//! The stack machine that a pickle is a program for.

use std::collections::HashMap;

use super::operands::{Operands, decimal, whole_number};
use super::{Id, Result, Trouble, Value};
use crate::checkpoint::pytorch::globals::Global;

/// The state of a pickle that is being read.
#[derive(Debug)]
pub(super) struct Machine<'a> {
    pub(super) operands: Operands<'a>,
    pub(super) values: Vec<Value<'a>>,
    /// The shared `None`, which every tensor refers to several times.
    pub(super) none: Option<Id>,
    pub(super) stack: Vec<Id>,
    /// The stack heights at the marks.
    pub(super) marks: Vec<usize>,
    pub(super) memo: HashMap<u32, Id>,
    /// The number of pairs copied from lists to dictionaries.
    pub(super) copied: usize,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            operands: Operands::new(bytes),
            values: Vec::new(),
            none: None,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            copied: 0,
        }
    }

    /// Executes all instructions. Returns the values, the result, and the bytes read.
    pub(super) fn run(mut self) -> Result<(Vec<Value<'a>>, Id, usize)> {
        loop {
            if let Some(root) = self.step()? {
                return Ok((self.values, root, self.operands.at()));
            }
        }
    }

    /// Executes one instruction; the last one returns the result.
    fn step(&mut self) -> Result<Option<Id>> {
        let opcode = self.operands.take(1)?[0];
        match opcode {
            // PROTO, FRAME: not needed, because the instructions do not depend on them.
            0x80 => drop(self.operands.take(1)?),
            0x95 => drop(self.operands.take(8)?),
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
                self.operands.take(8)?;
                self.push(Value::Other)?;
            }
            b'K' => self.push_int::<1>()?,
            b'M' => self.push_int::<2>()?,
            b'J' => {
                let number = i32::from_le_bytes(self.operands.array()?);
                self.push(Value::Int(number.into()))?;
            }
            0x8a => {
                let bytes = self.operands.counted::<1>()?;
                self.push(whole_number(bytes))?;
            }
            0x8b => {
                let bytes = self.operands.counted::<4>()?;
                self.push(whole_number(bytes))?;
            }
            // INT, LONG, FLOAT: decimal numbers of protocol 1.
            b'I' | b'L' | b'F' => {
                let line = self.operands.line()?;
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
                None => return self.operands.malformed("expected a class after the mark"),
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
                let key = u32::from(self.operands.take(1)?[0]);
                self.remember(key)?;
            }
            b'r' => {
                let key = u32::from_le_bytes(self.operands.array()?);
                self.remember(key)?;
            }
            0x94 => {
                // At most MOST_VALUES.
                let key = self.memo.len() as u32;
                self.remember(key)?;
            }
            b'h' => {
                let key = u32::from(self.operands.take(1)?[0]);
                self.recall(key)?;
            }
            b'j' => {
                let key = u32::from_le_bytes(self.operands.array()?);
                self.recall(key)?;
            }
            _ => {
                let shown = char::from(opcode).escape_default();
                return Err(Trouble::Refused(format!(
                    "has the pickle instruction 0x{opcode:02x} (`{shown}`) at byte {}, which is not supported",
                    self.operands.at() - 1
                )));
            }
        }
        Ok(None)
    }

    fn push_int<const N: usize>(&mut self) -> Result<()> {
        let number = self.operands.number::<N>()?;
        self.push(Value::Int(number as i64)) // of one or two bytes
    }

    fn push_text<const N: usize>(&mut self) -> Result<()> {
        let bytes = self.operands.counted::<N>()?;
        let text = self.operands.utf8(bytes)?;
        self.push(Value::Text(text))
    }

    fn push_old_text<const N: usize>(&mut self) -> Result<()> {
        let bytes = self.operands.counted::<N>()?;
        self.push(std::str::from_utf8(bytes).map_or(Value::Other, Value::Text))
    }

    fn push_bytes<const N: usize>(&mut self) -> Result<()> {
        self.operands.counted::<N>()?;
        self.push(Value::Other)
    }

    /// Reads the lines with the module and the name of a global.
    fn named_global(&mut self) -> Result<Id> {
        let (module, name) = (self.operands.line()?, self.operands.line()?);
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
            return self.operands.malformed("expected a string on the stack");
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
            return self.operands.malformed("expected a tuple of arguments");
        };
        match global {
            Global::OrderedDict => {
                let items = items.clone();
                let pairs = self.ordered(&items)?;
                // Two bytes can refer to a list again, and its pairs would be copied each time.
                self.copied += pairs.len();
                if self.copied > self.operands.len() {
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
        let wrong = || self.operands.malformed("expected pairs for an OrderedDict");
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
}
