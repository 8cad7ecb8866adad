//! The form since `PyTorch` 1.6: a zip archive, nothing in it compressed. `<name>/data.pkl` is the pickle,
//! `<name>/data/<key>` a storage.

use std::io;

use bytes::Bytes;
use zip::{CompressionMethod, ZipArchive};

use crate::checkpoint::cursor::Cursor;
use crate::checkpoint::state_dict::pickle::{self, Pickle, Refusal};
use crate::checkpoint::state_dict::{Storages, sized, wanted};
use crate::checkpoint::{CheckpointError, Source};

const PICKLE: &str = "/data.pkl";

pub fn is(bytes: &Bytes) -> bool {
    bytes.starts_with(b"PK\x03\x04")
}

pub fn read(source: Source<'_>) -> Result<(Pickle, Storages), CheckpointError> {
    let mut archive = Archive::open(source)?;
    let root = archive.root()?;
    if let Some(order) = archive.entry(&format!("{root}/byteorder"))?
        && order[..] != b"little"[..]
    {
        let got = String::from_utf8_lossy(&order).chars().take(16).collect::<String>();
        return Err(source.format("the byte order little", got));
    }
    let bytes = archive.needed(&format!("{root}{PICKLE}"))?;
    let pickle = pickle::read(&mut Cursor::new(&bytes)).map_err(|refusal| {
        let Refusal { expected, got } = refusal;
        source.format(expected, got)
    })?;
    let mut storages = Storages::new();
    for storage in wanted(source, &pickle)? {
        let data = archive.needed(&format!("{root}/data/{}", storage.key))?;
        let data = sized(source, &storage, data)?;
        storages.insert(storage.key, data);
    }
    Ok((pickle, storages))
}

struct Archive<'a> {
    source: Source<'a>,
    zip: ZipArchive<io::Cursor<&'a [u8]>>,
    /// Bytes that entries may still have: they lie beside each other, so together they have fewer than the
    /// file.
    left: usize,
}

impl<'a> Archive<'a> {
    fn open(source: Source<'a>) -> Result<Self, CheckpointError> {
        let zip = ZipArchive::new(io::Cursor::new(&source.bytes[..])).map_err(|_| {
            source.format("a whole zip archive", "one whose directory does not read")
        })?;
        Ok(Self { source, zip, left: source.bytes.len() })
    }

    /// What stands before `/data.pkl`.
    fn root(&self) -> Result<String, CheckpointError> {
        let root = |name: &str| name.strip_suffix(PICKLE).map(str::to_owned);
        let mut roots = self.zip.file_names().filter_map(|name| root(&name.ok()?));
        match (roots.next(), roots.next()) {
            (Some(root), None) => Ok(root),
            (None, _) => Err(self.source.format("an archive with a data.pkl", "one without")),
            (Some(_), Some(_)) => Err(self.source.format("one data.pkl", "several")),
        }
    }

    fn needed(&mut self, name: &str) -> Result<Bytes, CheckpointError> {
        let source = self.source;
        self.entry(name)?.ok_or_else(|| {
            let shown: String = name.chars().take(crate::checkpoint::NAME_SHOWN).collect();
            source.format(format!("an archive with {shown}"), "one without")
        })
    }

    /// An entry's bytes, shared with the file's; `None` where there is no such entry.
    fn entry(&mut self, name: &str) -> Result<Option<Bytes>, CheckpointError> {
        let source = self.source;
        let Some(index) = self.zip.index_for_name(name) else { return Ok(None) };
        let lies = |got: &str| {
            let shown: String = name.chars().take(crate::checkpoint::NAME_SHOWN).collect();
            source.format(format!("entry {shown} to be stored as it says"), got)
        };
        let entry = self.zip.by_index_raw(index).map_err(|_| lies("no header where it points"))?;
        if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
            return Err(lies("a compressed or encrypted one"));
        }
        let crc32 = entry.crc32();
        let range = entry.data_start().and_then(|start| {
            let start = usize::try_from(start).ok()?;
            let end = start.checked_add(usize::try_from(entry.size()).ok()?)?;
            (entry.size() == entry.compressed_size() && end <= source.bytes.len())
                .then_some(start..end)
        });
        let range = range.ok_or_else(|| lies("a size that is not the file's"))?;
        drop(entry);
        let left = self.left.checked_sub(range.len());
        self.left = left.ok_or_else(|| lies("one that lies over others"))?;
        let data = source.bytes.slice(range);
        let mut crc = flate2::Crc::new();
        crc.update(&data);
        if crc.sum() == crc32 { Ok(Some(data)) } else { Err(lies("another checksum")) }
    }
}
