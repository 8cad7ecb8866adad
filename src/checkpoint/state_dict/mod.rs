//! `PyTorch`'s state dict, as `torch.save(model.state_dict(), path)` writes it: a zip archive with a
//! pickle that tells of the tensors and an entry for each storage, or, before version 1.6, pickles with
//! the storages behind them.

mod archive;
mod legacy;
mod opcode;
mod pickle;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::checkpoint::{Checkpoint, CheckpointError, Form, Source};
use pickle::{Pickle, Refusal, Storage, Value};
use view::Gathered;

/// Whether the bytes begin as one of the two does.
pub fn is(bytes: &Bytes) -> bool {
    archive::is(bytes) || legacy::is(bytes)
}

pub fn read(source: Source<'_>) -> Result<Checkpoint, CheckpointError> {
    let (pickle, storages) =
        if archive::is(source.bytes) { archive::read(source)? } else { legacy::read(source)? };
    tensors(source, &pickle, &storages)
}

/// The bytes of each storage, by its key.
type Storages = BTreeMap<String, Bytes>;

/// The storages that a pickle refers to, each once.
fn wanted(source: Source<'_>, pickle: &Pickle) -> Result<Vec<Storage>, CheckpointError> {
    let mut found: BTreeMap<&str, &Storage> = BTreeMap::new();
    for value in pickle.values() {
        let Value::Storage(storage) = value else { continue };
        let first = *found.entry(storage.key.as_str()).or_insert(storage);
        if first != storage {
            let expected = format!("storage {} to be {first:?} throughout", storage.key);
            return Err(source.format(expected, format!("{storage:?}")));
        }
    }
    Ok(found.into_values().cloned().collect())
}

fn tensors(
    source: Source<'_>,
    pickle: &Pickle,
    storages: &Storages,
) -> Result<Checkpoint, CheckpointError> {
    let Value::Dict(items) = pickle.root() else {
        return Err(source.format("a dict of tensors", pickle.root().kind()));
    };
    let mut checkpoint = Checkpoint::new(Form::StateDict, source);
    let mut gathered = Gathered::at_most(source.bytes.len());
    for &(key, value) in items {
        let Value::Text(name) = pickle.value(key) else {
            return Err(source.format("names of tensors", pickle.value(key).kind()));
        };
        let Value::Tensor(view) = pickle.value(value) else {
            let expected = "a tensor (a checkpoint's state dict must be saved alone)";
            return Err(source.tensor(name, expected, pickle.value(value).kind()));
        };
        let data = storages.get(&view.storage.key).cloned().unwrap_or_default();
        let tensor = gathered
            .tensor(view, &data)
            .map_err(|Refusal { expected, got }| source.tensor(name, expected, got))?;
        if checkpoint.insert(name.as_str(), tensor).is_some() {
            return Err(source.tensor(name, "one tensor of a name", "another"));
        }
    }
    Ok(checkpoint)
}

/// The bytes of `storage`: `data` when they are as many as it says.
fn sized(source: Source<'_>, storage: &Storage, data: Bytes) -> Result<Bytes, CheckpointError> {
    let expected = storage.elements.checked_mul(storage.dtype.size());
    if expected == Some(data.len()) {
        return Ok(data);
    }
    let Storage { key, dtype, elements } = storage;
    let expected = format!("storage {key} to hold {elements} elements of {dtype:?}");
    Err(source.format(expected, format!("{} bytes", data.len())))
}
