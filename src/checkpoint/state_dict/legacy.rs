//! The form before `PyTorch` 1.6: five pickles (a magic number, the format's version, what the machine
//! was, the state dict, the keys of its storages), then each storage as a count and its bytes.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::checkpoint::cursor::Cursor;
use crate::checkpoint::state_dict::pickle::{self, Pickle, Refusal, Storage, Value};
use crate::checkpoint::state_dict::{Storages, sized, wanted};
use crate::checkpoint::{CheckpointError, Source};

/// The first pickle, whole.
const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

const VERSION: i64 = 1001;

pub fn is(bytes: &Bytes) -> bool {
    bytes.starts_with(MAGIC)
}

pub fn read(source: Source<'_>) -> Result<(Pickle, Storages), CheckpointError> {
    let mut cursor = Cursor::new(source.bytes);
    cursor.take(MAGIC.len());
    let mut next = || {
        pickle::read(&mut cursor).map_err(|Refusal { expected, got }| source.format(expected, got))
    };
    let (version, machine, pickle, keys) = (next()?, next()?, next()?, next()?);
    if *version.root() != Value::Integer(VERSION) {
        let got = match version.root() {
            Value::Integer(version) => format!("version {version}"),
            other => other.kind().to_owned(),
        };
        return Err(source.format(format!("version {VERSION}"), got));
    }
    if !is_little_endian(&machine) {
        return Err(source.format("the byte order little", "another"));
    }
    let storages = storages(source, &mut cursor, &pickle, &keys)?;
    Ok((pickle, storages))
}

fn is_little_endian(machine: &Pickle) -> bool {
    let Value::Dict(items) = machine.root() else { return false };
    items.iter().any(|&(key, value)| {
        *machine.value(key) == Value::Text("little_endian".to_owned())
            && *machine.value(value) == Value::Bool(true)
    })
}

/// Reads what stands behind the pickles: the storages, in the order of their keys.
fn storages(
    source: Source<'_>,
    cursor: &mut Cursor<'_>,
    pickle: &Pickle,
    keys: &Pickle,
) -> Result<Storages, CheckpointError> {
    let Value::List(keys_listed) = keys.root() else {
        return Err(source.format("a list of storages", keys.root().kind()));
    };
    let mut wanted: BTreeMap<String, Storage> =
        wanted(source, pickle)?.into_iter().map(|storage| (storage.key.clone(), storage)).collect();
    let mut storages = Storages::new();
    for &key in keys_listed {
        let found = match keys.value(key) {
            Value::Text(key) => wanted.remove(key),
            _ => None,
        };
        let storage = found.ok_or_else(|| {
            source.format("keys of the tensors' storages, each once", keys.value(key).kind())
        })?;
        let cut = || source.format(format!("all of storage {}", storage.key), "an end too soon");
        let count = cursor.array().map(u64::from_le_bytes).ok_or_else(cut)?;
        let length = usize::try_from(count).ok().and_then(|n| n.checked_mul(storage.dtype.size()));
        let data = length.and_then(|length| cursor.share(length)).ok_or_else(cut)?;
        let data = sized(source, &storage, data)?;
        storages.insert(storage.key, data);
    }
    match (wanted.into_keys().next(), cursor.left()) {
        (None, 0) => Ok(storages),
        (None, left) => Err(source.format("an end after the storages", format!("{left} bytes"))),
        (Some(missing), _) => Err(source.format(format!("storage {missing}"), "a list without it")),
    }
}
