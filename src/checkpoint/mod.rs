//! Files of weights that others trained, as tensors by name. Nothing in such a file is ever run: a
//! reader knows the few things that a file of tensors needs, and refuses all else by its name.

mod ctranslate2;
mod cursor;
mod safetensors;
mod state_dict;
mod tensor;

use std::collections::BTreeMap;

use bytes::Bytes;

pub use tensor::{Dtype, Tensor};

/// Why a file of weights was refused.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("{file}: expected {expected}, got {got}")]
    Format { file: String, expected: String, got: String },
    #[error("{file}: tensor {tensor:?}: expected {expected}, got {got}")]
    Tensor { file: String, tensor: String, expected: String, got: String },
    #[error("tensors cannot be written as safetensors: {0}")]
    Write(String),
}

/// Which of the forms a checkpoint was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    Safetensors,
    StateDict,
    /// The name of the model's specification (`WhisperSpec`) and its revision.
    CTranslate2 {
        specification: String,
        revision: u32,
    },
}

/// Tensors by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    pub form: Form,
    size: usize,
    tensors: BTreeMap<String, Tensor>,
}

/// Reads `bytes`, whatever of the known forms they are: the content says, not the name. `file` is for
/// errors.
///
/// # Errors
/// [`CheckpointError`] when they are of no known form, are cut short, or say of themselves what is not so.
pub fn read(file: &str, bytes: &Bytes) -> Result<Checkpoint, CheckpointError> {
    let source = Source { file, bytes };
    if ctranslate2::is(bytes) {
        ctranslate2::read(source)
    } else if safetensors::is(bytes) {
        safetensors::read(source)
    } else if state_dict::is(bytes) {
        state_dict::read(source)
    } else {
        let expected = "a safetensors file, a PyTorch state dict or a CTranslate2 model";
        Err(source.format(expected, source.beginning()))
    }
}

impl Checkpoint {
    fn new(form: Form, source: Source<'_>) -> Self {
        Self { form, size: source.bytes.len(), tensors: BTreeMap::new() }
    }

    /// Bytes of the file. Tensors may share them, so that all together have more.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Every tensor that has not been taken, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// Removes a tensor; `None` where there is none of that name.
    pub fn take(&mut self, name: &str) -> Option<Tensor> {
        self.tensors.remove(name)
    }

    /// Adds a tensor under a name of its own; the one that had the name before, where one had.
    pub fn insert(&mut self, name: impl Into<String>, tensor: Tensor) -> Option<Tensor> {
        self.tensors.insert(name.into(), tensor)
    }
}

/// Tensors as the bytes of a safetensors file, each with the type that it has.
///
/// # Errors
/// [`CheckpointError::Write`] when the format refuses them.
pub fn to_safetensors(tensors: &BTreeMap<String, Tensor>) -> Result<Vec<u8>, CheckpointError> {
    safetensors::write(tensors)
}

/// What a reader reads, with the file's name for its errors.
#[derive(Clone, Copy)]
struct Source<'a> {
    file: &'a str,
    bytes: &'a Bytes,
}

impl Source<'_> {
    fn format(&self, expected: impl Into<String>, got: impl Into<String>) -> CheckpointError {
        let (expected, got) = (shown(&expected.into()), shown(&got.into()));
        CheckpointError::Format { file: self.file.to_owned(), expected, got }
    }

    fn tensor(
        &self,
        tensor: &str,
        expected: impl Into<String>,
        got: impl Into<String>,
    ) -> CheckpointError {
        CheckpointError::Tensor {
            file: self.file.to_owned(),
            tensor: tensor.chars().take(NAME_SHOWN).collect(),
            expected: shown(&expected.into()),
            got: shown(&got.into()),
        }
    }

    /// How the file begins, for an error.
    fn beginning(&self) -> String {
        let start: Vec<String> =
            self.bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("{} bytes that begin with {:?}", self.bytes.len(), start.join(" "))
    }
}

/// Characters of a file's own text that an error repeats.
const NAME_SHOWN: usize = 120;

/// Characters of either side of an error, of which some may be a file's own.
const TEXT_SHOWN: usize = 400;

/// What an error says, as one line of bounded length that no terminal takes for a command.
fn shown(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars().take(TEXT_SHOWN) {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}
