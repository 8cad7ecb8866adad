//! IDX files (`LeCun` and others, the format of MNIST), plain or gzipped: pictures and their labels.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::GzDecoder;
use sha2::{Digest as _, Sha256};

use crate::dataset::pictures::part::Source;
use crate::dataset::pictures::{Sources, Wanted, said};
use crate::dataset::{DataError, Store};
use crate::media::picture::Picture;

/// Bytes of a file that are read at once.
const CHUNK: usize = 64 << 10;

const TRAIN: &str = "train";
const TEST: &str = "t10k";

pub(super) fn lies_in(directory: &Path) -> bool {
    [TRAIN, TEST]
        .into_iter()
        .map(|prefix| directory.join(pictures(prefix)))
        .any(|path| path.is_file() || path.with_added_extension("gz").is_file())
}

/// Reads `train-…` and `t10k-…`, as MNIST and Fashion-MNIST name them.
pub(super) fn hold(
    directory: &Path,
    labels: Option<Vec<String>>,
    wanted: Wanted,
    hash: &mut Sha256,
) -> Result<Sources, DataError> {
    let labels = said(labels, "")?;
    let mut split = |prefix| -> Result<Arc<dyn Source>, DataError> {
        Ok(Arc::new(Split::read(directory, prefix, hash)?))
    };
    let train = (wanted == Wanted::All).then(|| split(TRAIN)).transpose()?;
    Ok(Sources { train, validation: None, test: Some(split(TEST)?), labels })
}

fn pictures(prefix: &str) -> String {
    format!("{prefix}-images-idx3-ubyte")
}

/// Pictures of one size with a label each.
#[derive(Debug)]
struct Split {
    path: PathBuf,
    rows: usize,
    columns: usize,
    /// One byte a pixel, row by row, picture by picture.
    pixels: Store<u8>,
    /// One byte a picture.
    labels: Vec<u8>,
}

impl Split {
    /// Reads `<prefix>-images-idx3-ubyte` and `<prefix>-labels-idx1-ubyte`, each with or without `.gz`.
    fn read(directory: &Path, prefix: &str, hash: &mut Sha256) -> Result<Self, DataError> {
        let path = directory.join(pictures(prefix));
        let ([_, rows, columns], pixels) = file(&path, hash)?;
        let refuse = |path: &Path, expected: String, got: String| DataError::Format {
            place: path.display().to_string(),
            expected,
            got,
        };
        let side = |size: usize| size > 0 && u32::try_from(size).is_ok();
        if !side(rows) || !side(columns) {
            let expected = "pictures of at least one pixel".to_owned();
            return Err(refuse(&path, expected, format!("{rows} x {columns}")));
        }
        let labels_path = directory.join(format!("{prefix}-labels-idx1-ubyte"));
        let (_, labels): ([usize; 1], _) = file(&labels_path, hash)?;
        let pictures = pixels.len() / (rows * columns);
        if labels.len() != pictures {
            let expected = format!("{pictures} labels, as there are pictures");
            return Err(refuse(&labels_path, expected, labels.len().to_string()));
        }
        let labels = labels.get(0..pictures)?.into_owned();
        Ok(Self { path, rows, columns, pixels, labels })
    }
}

impl Source for Split {
    fn count(&self) -> usize {
        self.labels.len()
    }

    fn label(&self, index: usize) -> usize {
        self.labels[index].into()
    }

    fn picture(&self, index: usize) -> Result<Picture, DataError> {
        let size = self.rows * self.columns;
        let pixels = self.pixels.get(index * size..(index + 1) * size)?.into_owned();
        let short = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
        Picture::grey(short(self.columns), short(self.rows), pixels).ok_or_else(|| {
            let reason = format!("pictures of {} x {} are too large", self.rows, self.columns);
            DataError::Sample { place: self.place(index), reason }
        })
    }

    fn place(&self, index: usize) -> String {
        format!("{}, picture {}", self.path.display(), index + 1)
    }

    /// Any bytes are pixels, and the digest is over the whole files.
    fn examine(&self, _: usize) -> Result<Vec<u8>, DataError> {
        Ok(Vec::new())
    }
}

/// Sizes and data of a file, with or without `.gz`.
fn file<const RANK: usize>(
    path: &Path,
    hash: &mut Sha256,
) -> Result<([usize; RANK], Store<u8>), DataError> {
    let refuse = |fault| match fault {
        Fault::Read(source) => {
            let place = format!("{}, with or without .gz,", path.display());
            DataError::Read { place, source }
        }
        Fault::Format(expected, got) => {
            DataError::Format { place: path.display().to_string(), expected, got }
        }
        Fault::Store(error) => error,
    };
    let reader = open(path).map_err(Fault::Read).map_err(refuse)?;
    parse(reader, hash).map_err(refuse)
}

fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    if let Ok(file) = File::open(path) {
        return Ok(Box::new(file));
    }
    let gzipped = File::open(path.with_added_extension("gz"))?;
    Ok(Box::new(GzDecoder::new(BufReader::new(gzipped))))
}

/// Why a file is of no use.
#[derive(Debug)]
enum Fault {
    Read(io::Error),
    /// What was expected, and what came.
    Format(String, String),
    Store(DataError),
}

/// Reads unsigned bytes: two zeros, type 8, the rank, then each size as a big-endian u32, and the data.
fn parse<const RANK: usize>(
    mut reader: impl Read,
    hash: &mut Sha256,
) -> Result<([usize; RANK], Store<u8>), Fault> {
    let mut magic = Vec::new();
    reader.by_ref().take(4).read_to_end(&mut magic).map_err(Fault::Read)?;
    let mut words = Vec::new();
    reader.by_ref().take(4 * RANK as u64).read_to_end(&mut words).map_err(Fault::Read)?;
    let expected = [0, 0, 8, u8::try_from(RANK).unwrap_or(u8::MAX)];
    if magic != expected || words.len() < 4 * RANK {
        let expected = format!("an IDX header {expected:02x?} and {RANK} sizes");
        return Err(Fault::Format(expected, format!("{magic:02x?}")));
    }
    hash.update(&magic);
    hash.update(&words);
    let mut sizes = [0; RANK];
    for (size, word) in sizes.iter_mut().zip(words.as_chunks().0) {
        *size = u32::from_be_bytes(*word) as usize;
    }
    let count = sizes.iter().try_fold(1_usize, |n, &size| n.checked_mul(size));
    let expected = format!("as many bytes as the sizes {sizes:?} say");
    let Some(count) = count else {
        return Err(Fault::Format(expected, "more than there can be".to_owned()));
    };
    let data = data(reader, count, hash)?;
    match data.len() {
        length if length == count => Ok((sizes, data)),
        length if length > count => Err(Fault::Format(expected, "more".to_owned())),
        length => Err(Fault::Format(expected, format!("{length} bytes"))),
    }
}

/// What follows the header: all of it, or what is more than `count` already.
fn data(mut reader: impl Read, count: usize, hash: &mut Sha256) -> Result<Store<u8>, Fault> {
    let mut store = Store::default();
    let mut chunk = vec![0; CHUNK];
    while store.len() <= count {
        let read = match reader.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Fault::Read(error)),
        };
        hash.update(&chunk[..read]);
        store.push(&chunk[..read]).map_err(Fault::Store)?;
    }
    Ok(store)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Digest;
    use crate::package::sha256;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    const PICTURES: &[u8] = b"\0\0\x08\x03\0\0\0\x02\0\0\0\x01\0\0\0\x03abcdef";
    const LABELS: &[u8] = b"\0\0\x08\x01\0\0\0\x02\x07\x01";

    fn directory(pictures: &[u8], labels: &[u8]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let at = |name| directory.path().join(name);
        std::fs::write(at("a-images-idx3-ubyte"), pictures).unwrap();
        let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
        gz.write_all(labels).unwrap();
        std::fs::write(at("a-labels-idx1-ubyte.gz"), gz.finish().unwrap()).unwrap();
        directory
    }

    #[test]
    fn plain_and_gzipped_files_read_alike_and_are_digested() {
        let directory = directory(PICTURES, LABELS);
        let mut hash = Sha256::new();
        let split = Split::read(directory.path(), "a", &mut hash).unwrap();
        assert_eq!((split.count(), split.rows, split.columns), (2, 1, 3));
        assert_eq!((split.label(0), split.label(1)), (7, 1));
        let expected = Picture::grey(3, 1, b"def".to_vec()).unwrap().to_png().unwrap();
        assert_eq!(split.picture(1).unwrap().to_png().unwrap(), expected);
        assert!(split.place(1).ends_with("a-images-idx3-ubyte, picture 2"));
        let digest = Digest::new(hash.finalize().into());
        assert_eq!(digest, sha256(&[PICTURES, LABELS].concat()));
    }

    #[test]
    fn files_that_are_not_what_their_header_says_are_refused() {
        let read = |directory: &tempfile::TempDir, prefix| {
            Split::read(directory.path(), prefix, &mut Sha256::new())
        };
        let huge = b"\0\0\x08\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff";
        let none = b"\0\0\x08\x03\0\0\0\0\0\0\0\0\0\0\0\0";
        for pictures in [&PICTURES[..PICTURES.len() - 1], LABELS, b"", b"\0\0", huge, none] {
            assert!(read(&directory(pictures, LABELS), "a").is_err(), "{pictures:?}");
        }
        let directory = directory(PICTURES, b"\0\0\x08\x01\0\0\0\x01\x07");
        let error = read(&directory, "a").unwrap_err().to_string();
        assert!(error.contains("2 labels"), "{error}");
        let error = read(&directory, "b").unwrap_err().to_string();
        assert!(error.contains("b-images-idx3-ubyte, with or without .gz"), "{error}");
    }
}
