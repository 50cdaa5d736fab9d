//! The stack of the machine, its marks and its memo, each with a limit.

use super::machine::Machine;
use super::{Id, MOST_VALUES, Result, Trouble, Value};

impl<'a> Machine<'a> {
    pub(super) fn limit(&self, count: usize) -> Result<()> {
        if count < MOST_VALUES {
            return Ok(());
        }
        Err(Trouble::Refused(format!(
            "has more than {MOST_VALUES} values in addition to its tensors"
        )))
    }

    pub(super) fn add(&mut self, value: Value<'a>) -> Result<Id> {
        self.limit(self.values.len())?;
        let id = Id(self.values.len() as u32); // at most MOST_VALUES
        self.values.push(value);
        Ok(id)
    }

    pub(super) fn push(&mut self, value: Value<'a>) -> Result<()> {
        let id = self.add(value)?;
        self.push_id(id)
    }

    pub(super) fn push_id(&mut self, id: Id) -> Result<()> {
        self.limit(self.stack.len())?;
        self.stack.push(id);
        Ok(())
    }

    /// Returns the height of the stack below its top `count` values, which must be above the last
    /// mark.
    pub(super) fn height(&self, count: usize) -> Result<usize> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(count) {
            Some(height) if height >= floor => Ok(height),
            _ => self
                .operands
                .malformed("expected a value on the stack, found none"),
        }
    }

    pub(super) fn pop(&mut self) -> Result<Id> {
        let height = self.height(1)?;
        let id = self.stack[height];
        self.stack.truncate(height);
        Ok(id)
    }

    pub(super) fn since_mark(&mut self) -> Result<Vec<Id>> {
        match self.marks.pop() {
            Some(height) => Ok(self.stack.split_off(height)),
            None => self
                .operands
                .malformed("expected a mark on the stack, found none"),
        }
    }

    pub(super) fn pairs(&self, items: &[Id]) -> Result<Vec<(Id, Id)>> {
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return self.operands.malformed("expected a value for every key");
        }
        Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
    }

    pub(super) fn top(&mut self) -> Result<&mut Value<'a>> {
        let height = self.height(1)?;
        Ok(&mut self.values[self.stack[height].0 as usize])
    }

    /// Appends to the list or the object on the stack. The items of an object are dropped.
    pub(super) fn append(&mut self, items: impl IntoIterator<Item = Id>) -> Result<()> {
        let at = self.operands.at();
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

    pub(super) fn dict(&mut self) -> Result<&mut Vec<(Id, Id)>> {
        let at = self.operands.at();
        match self.top()? {
            Value::Dict(pairs) | Value::Object(_, pairs) => Ok(pairs),
            _ => Err(Trouble::Malformed {
                at,
                why: "expected a dictionary on the stack".into(),
            }),
        }
    }

    pub(super) fn remember(&mut self, key: u32) -> Result<()> {
        self.limit(self.memo.len())?;
        let height = self.height(1)?;
        self.memo.insert(key, self.stack[height]);
        Ok(())
    }

    pub(super) fn recall(&mut self, key: u32) -> Result<()> {
        match self.memo.get(&key) {
            Some(&id) => self.push_id(id),
            None => self
                .operands
                .malformed(format!("expected value {key} of the memo, found none")),
        }
    }
}
