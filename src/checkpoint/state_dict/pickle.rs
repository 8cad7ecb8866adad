//! The part of Python's pickle that a state dict of tensors is written in. A pickle is a program; this
//! reads it as one that can only make texts, numbers, tuples, lists, dicts, storages and tensors. Whatever
//! else it asks for is refused by its name, and nothing that it names is ever called.
//!
//! What the opcodes mean is told in the standard library's `pickletools`.

use std::collections::HashMap;

use crate::checkpoint::cursor::Cursor;
use crate::checkpoint::state_dict::opcode::{self, Opcode};
use crate::checkpoint::tensor::RANK_MAX;
use crate::checkpoint::{Dtype, NAME_SHOWN};

/// Opcodes that are read: those of a hundred thousand tensors.
const STEPS_MAX: usize = 1 << 22;

/// Bytes of a module's or a class's name.
const LINE_MAX: usize = 256;

/// Bytes of a storage's key. Every tensor has a copy of it, however often the pickle recalls the one text.
const KEY_MAX: usize = 256;

/// Index of a value. Values refer to each other by it, so that no depth of nesting is a depth of calls.
pub type Id = usize;

/// What a pickle may make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    None,
    Bool(bool),
    Integer(i64),
    Text(String),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage(Storage),
    Tensor(View),
}

/// What a pickle may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Dtype),
}

/// Elements that lie elsewhere in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    pub key: String,
    pub dtype: Dtype,
    pub elements: usize,
}

/// A tensor as a view of a storage, in elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub storage: Storage,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

/// What was expected, and what came instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub expected: String,
    pub got: String,
}

fn refuse<T>(expected: impl Into<String>, got: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { expected: expected.into(), got: got.into() })
}

/// The names that are understood, as module and name.
const GLOBALS: &[(&str, &str, Global)] = &[
    ("collections", "OrderedDict", Global::OrderedDict),
    ("torch._utils", "_rebuild_tensor_v2", Global::RebuildTensor),
    ("torch._utils", "_rebuild_parameter", Global::RebuildParameter),
    ("torch", "ComplexDoubleStorage", Global::Storage(Dtype::C128)),
    ("torch", "ComplexFloatStorage", Global::Storage(Dtype::C64)),
    ("torch", "DoubleStorage", Global::Storage(Dtype::F64)),
    ("torch", "FloatStorage", Global::Storage(Dtype::F32)),
    ("torch", "HalfStorage", Global::Storage(Dtype::F16)),
    ("torch", "BFloat16Storage", Global::Storage(Dtype::BF16)),
    ("torch", "LongStorage", Global::Storage(Dtype::I64)),
    ("torch", "IntStorage", Global::Storage(Dtype::I32)),
    ("torch", "ShortStorage", Global::Storage(Dtype::I16)),
    ("torch", "CharStorage", Global::Storage(Dtype::I8)),
    ("torch", "ByteStorage", Global::Storage(Dtype::U8)),
    ("torch", "BoolStorage", Global::Storage(Dtype::Bool)),
];

/// A pickle that was read.
#[derive(Debug)]
pub struct Pickle {
    values: Vec<Value>,
    root: Id,
}

impl Pickle {
    /// What the whole pickle made.
    #[must_use]
    pub fn root(&self) -> &Value {
        &self.values[self.root]
    }

    #[must_use]
    pub fn value(&self, id: Id) -> &Value {
        &self.values[id]
    }

    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.values.iter()
    }
}

impl Value {
    /// What it is, for an error.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a bool",
            Self::Integer(_) => "an int",
            Self::Text(_) => "a text",
            Self::Tuple(_) => "a tuple",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dict",
            Self::Global(_) => "a name",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a tensor",
        }
    }
}

/// Reads one pickle; the cursor then stands behind it.
pub fn read(cursor: &mut Cursor<'_>) -> Result<Pickle, Refusal> {
    let mut machine = Machine::default();
    for _ in 0..STEPS_MAX {
        if let Some(root) = machine.step(cursor)? {
            return Ok(Pickle { values: machine.values, root });
        }
    }
    refuse(format!("a pickle of at most {STEPS_MAX} opcodes"), "more")
}

/// Whether it is PyTorch's name of some kind of tensor or of what one is made of.
fn is_of_tensors(module: &str, name: &str) -> bool {
    let torch = module == "torch" || module.starts_with("torch.");
    torch && (name.ends_with("Storage") || name.starts_with("_rebuild_"))
}

#[derive(Default)]
struct Machine {
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl Machine {
    /// Runs one opcode; the root where it was the last.
    fn step(&mut self, cursor: &mut Cursor<'_>) -> Result<Option<Id>, Refusal> {
        let at = cursor.at();
        let cut = || Refusal { expected: "a whole pickle".into(), got: "an end too soon".into() };
        let opcode = opcode::read(cursor.u8().ok_or_else(cut)?, at)?;
        match opcode {
            Opcode::Stop => return self.pop().map(Some),
            Opcode::Protocol => drop(cursor.u8().ok_or_else(cut)?),
            Opcode::Mark => self.marks.push(self.stack.len()),
            Opcode::Put => self.remember(cursor.u8().ok_or_else(cut)?.into())?,
            Opcode::LongPut => self.remember(cursor.u32().ok_or_else(cut)?)?,
            Opcode::Get => self.recall(cursor.u8().ok_or_else(cut)?.into())?,
            Opcode::LongGet => self.recall(cursor.u32().ok_or_else(cut)?)?,
            Opcode::Global => self.global(cursor)?,
            Opcode::Reduce => self.reduce()?,
            Opcode::Build => self.build()?,
            Opcode::PersistentId => self.persistent_id()?,
            Opcode::Tuple(count) => {
                let items = self.pop_items(count)?;
                self.push(Value::Tuple(items));
            }
            Opcode::Append => self.append(1)?,
            Opcode::Appends => {
                let count = self.above_mark()?;
                self.append(count)?;
            }
            Opcode::SetItem => self.set_items(2)?,
            Opcode::SetItems => {
                let count = self.above_mark()?;
                self.set_items(count)?;
            }
            Opcode::Literal(literal) => {
                let value = literal.read(cursor).ok_or_else(cut)?;
                self.push(value);
            }
        }
        Ok(None)
    }

    fn push(&mut self, value: Value) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn pop(&mut self) -> Result<Id, Refusal> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return refuse("a value on the stack", "none");
        }
        self.stack.pop().map_or_else(|| refuse("a value on the stack", "none"), Ok)
    }

    /// The last `count` values, or those above the last mark.
    fn pop_items(&mut self, count: Option<usize>) -> Result<Vec<Id>, Refusal> {
        let count = match count {
            Some(count) => count,
            None => self.above_mark()?,
        };
        let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        items.reverse();
        Ok(items)
    }

    /// Removes the last mark: how many values were above it.
    fn above_mark(&mut self) -> Result<usize, Refusal> {
        let mark = self.marks.pop().map_or_else(|| refuse("a mark on the stack", "none"), Ok)?;
        Ok(self.stack.len() - mark)
    }

    fn top(&self) -> Result<Id, Refusal> {
        self.stack.last().copied().map_or_else(|| refuse("a value on the stack", "none"), Ok)
    }

    fn remember(&mut self, place: u32) -> Result<(), Refusal> {
        let top = self.top()?;
        self.memo.insert(place, top);
        Ok(())
    }

    fn recall(&mut self, place: u32) -> Result<(), Refusal> {
        match self.memo.get(&place) {
            Some(&id) => {
                self.stack.push(id);
                Ok(())
            }
            None => refuse("a value that was put in the memo", format!("place {place}")),
        }
    }

    fn append(&mut self, count: usize) -> Result<(), Refusal> {
        let items = self.pop_items(Some(count))?;
        let top = self.top()?;
        match &mut self.values[top] {
            Value::List(list) => list.extend(items),
            other => return refuse("a list to append to", other.kind()),
        }
        Ok(())
    }

    fn set_items(&mut self, count: usize) -> Result<(), Refusal> {
        let items = self.pop_items(Some(count))?;
        let top = self.top()?;
        match &mut self.values[top] {
            Value::Dict(dict) if count.is_multiple_of(2) => {
                dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
                Ok(())
            }
            Value::Dict(_) => refuse("a value for each key", "a key without one"),
            other => refuse("a dict to set items of", other.kind()),
        }
    }

    fn global(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Refusal> {
        let mut line = || {
            let line = cursor.line(LINE_MAX)?;
            std::str::from_utf8(line).ok()
        };
        let (Some(module), Some(name)) = (line(), line()) else {
            return refuse("a module and a name, a line each", "neither");
        };
        let known = GLOBALS.iter().find(|global| (global.0, global.1) == (module, name));
        let Some((.., global)) = known else {
            let shown: String = format!("{module}.{name}").chars().take(NAME_SHOWN).collect();
            let expected = if is_of_tensors(module, name) {
                "dense tensors of floats from 16 bits on, complex or whole numbers, or bools"
            } else {
                "a state dict, which names only tensors and what they are made of (save one \
                 with torch.save(model.state_dict(), path))"
            };
            return refuse(expected, format!("{shown}, which is not called"));
        };
        self.push(Value::Global(*global));
        Ok(())
    }

    /// Makes what one of the known names makes of its arguments.
    fn reduce(&mut self) -> Result<(), Refusal> {
        let (arguments, callee) = (self.pop()?, self.pop()?);
        let Value::Tuple(arguments) = &self.values[arguments] else {
            return refuse("a tuple of arguments", self.values[arguments].kind());
        };
        let made = match (&self.values[callee], arguments.as_slice()) {
            (Value::Global(Global::OrderedDict), []) => Value::Dict(Vec::new()),
            (Value::Global(Global::RebuildTensor), arguments) => {
                Value::Tensor(self.view(arguments)?)
            }
            (Value::Global(Global::RebuildParameter), &[tensor, _, _]) => {
                match &self.values[tensor] {
                    Value::Tensor(view) => Value::Tensor(view.clone()),
                    other => return refuse("a parameter's tensor", other.kind()),
                }
            }
            (Value::Global(global), arguments) => {
                let got = format!("{global:?} of {} arguments", arguments.len());
                return refuse("a name with its own arguments", got);
            }
            (other, _) => return refuse("a name to apply", other.kind()),
        };
        self.push(made);
        Ok(())
    }

    /// `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, backward_hooks[, metadata])`.
    fn view(&self, arguments: &[Id]) -> Result<View, Refusal> {
        let (&[storage, offset, shape, strides], rest) = arguments
            .split_first_chunk()
            .map_or_else(|| refuse("a tensor of 6 or 7 arguments", "fewer"), Ok)?;
        if rest.len() > 3 {
            return refuse("a tensor of 6 or 7 arguments", format!("{}", arguments.len()));
        }
        let Value::Storage(storage) = &self.values[storage] else {
            return refuse("a tensor's storage", self.values[storage].kind());
        };
        let storage = storage.clone();
        Ok(View {
            storage,
            offset: self.count(offset)?,
            shape: self.counts(shape)?,
            strides: self.counts(strides)?,
        })
    }

    fn count(&self, id: Id) -> Result<usize, Refusal> {
        match &self.values[id] {
            Value::Integer(number) => usize::try_from(*number)
                .or_else(|_| refuse("an offset, size or stride of 0 or more", format!("{number}"))),
            other => refuse("an int", other.kind()),
        }
    }

    fn counts(&self, id: Id) -> Result<Vec<usize>, Refusal> {
        match &self.values[id] {
            // Before they are copied: the pickle may recall the one tuple for every tensor.
            Value::Tuple(items) if items.len() > RANK_MAX => {
                refuse(format!("at most {RANK_MAX} dimensions"), format!("{}", items.len()))
            }
            Value::Tuple(items) => items.iter().map(|&item| self.count(item)).collect(),
            other => refuse("a tuple of ints", other.kind()),
        }
    }

    /// An `OrderedDict`'s attributes (a state dict's are the versions of its modules): not kept.
    fn build(&mut self) -> Result<(), Refusal> {
        self.pop()?;
        match &self.values[self.top()?] {
            Value::Dict(_) => Ok(()),
            other => refuse("attributes of a dict only", format!("those of {}", other.kind())),
        }
    }

    /// `("storage", type, key, location, elements[, view])`.
    fn persistent_id(&mut self) -> Result<(), Refusal> {
        let expected = "a storage's identity: (\"storage\", type, key, location, elements)";
        let id = self.pop()?;
        let Value::Tuple(parts) = &self.values[id] else {
            return refuse(expected, self.values[id].kind());
        };
        // One more than there may be.
        let parts: Vec<&Value> = parts.iter().take(7).map(|&part| &self.values[part]).collect();
        let storage = match parts.as_slice() {
            [
                Value::Text(word),
                Value::Global(Global::Storage(dtype)),
                Value::Text(key),
                _,
                Value::Integer(elements),
            ]
            | [
                Value::Text(word),
                Value::Global(Global::Storage(dtype)),
                Value::Text(key),
                _,
                Value::Integer(elements),
                Value::None,
            ] if word == "storage" && key.len() <= KEY_MAX => usize::try_from(*elements)
                .ok()
                .map(|elements| Storage { key: key.clone(), dtype: *dtype, elements }),
            _ => None,
        };
        let kinds: Vec<&str> = parts.iter().map(|part| part.kind()).collect();
        let storage = storage.map_or_else(|| refuse(expected, kinds.join(", ")), Ok)?;
        self.push(Value::Storage(storage));
        Ok(())
    }
}
