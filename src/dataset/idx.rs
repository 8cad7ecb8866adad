//! IDX files (`LeCun` and others, the format of MNIST), plain or gzipped: pictures and their labels.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use sha2::{Digest as _, Sha256};

use crate::domain::Digest;

/// Bytes of one file once decompressed.
const FILE_BYTES_MAX: u64 = 2 << 30;

/// Why data was refused.
#[derive(Debug, thiserror::Error)]
pub enum IdxError {
    #[error("neither {path} nor {path}.gz can be read: {reason}")]
    Read { path: PathBuf, reason: std::io::Error },
    #[error("{path}: expected {expected}, got {got}")]
    Format { path: PathBuf, expected: String, got: String },
}

/// Pictures of one size with a label each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    pub rows: usize,
    pub columns: usize,
    /// One byte a pixel, row by row, picture by picture.
    pixels: Vec<u8>,
    pub labels: Vec<u8>,
}

impl Split {
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The pixels of one picture; empty past the last.
    #[must_use]
    pub fn picture(&self, index: usize) -> &[u8] {
        let size = self.rows * self.columns;
        self.pixels.get(index * size..(index + 1) * size).unwrap_or_default()
    }
}

/// Reads splits of one directory and keeps a digest: SHA-256 over the decompressed files in the order
/// they are read, pictures before labels.
#[derive(Debug)]
pub struct Reader {
    directory: PathBuf,
    hash: Sha256,
}

impl Reader {
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), hash: Sha256::new() }
    }

    /// Reads `<prefix>-images-idx3-ubyte` and `<prefix>-labels-idx1-ubyte`, each with or without `.gz`.
    ///
    /// # Errors
    /// [`IdxError`] when a file is missing, has another header or length, or the counts differ.
    pub fn split(&mut self, prefix: &str) -> Result<Split, IdxError> {
        let path = self.directory.join(format!("{prefix}-images-idx3-ubyte"));
        let ([_, rows, columns], pixels) = self.file(&path)?;
        if rows == 0 || columns == 0 {
            let expected = "pictures of at least one pixel".to_owned();
            return Err(IdxError::Format { path, expected, got: format!("{rows} x {columns}") });
        }
        let path = self.directory.join(format!("{prefix}-labels-idx1-ubyte"));
        let (_, labels): ([usize; 1], _) = self.file(&path)?;
        let pictures = pixels.len() / (rows * columns);
        if labels.len() != pictures {
            let expected = format!("{pictures} labels, as there are pictures");
            return Err(IdxError::Format { path, expected, got: labels.len().to_string() });
        }
        Ok(Split { rows, columns, pixels, labels })
    }

    /// The digest of all that was read.
    #[must_use]
    pub fn digest(self) -> Digest {
        Digest::new(self.hash.finalize().into())
    }

    fn file<const RANK: usize>(
        &mut self,
        path: &Path,
    ) -> Result<([usize; RANK], Vec<u8>), IdxError> {
        let bytes =
            read(path).map_err(|reason| IdxError::Read { path: path.to_owned(), reason })?;
        self.hash.update(&bytes);
        parse(bytes).map_err(|(expected, got)| IdxError::Format {
            path: path.to_owned(),
            expected,
            got,
        })
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    } else {
        let gzipped = path.with_added_extension("gz");
        GzDecoder::new(File::open(gzipped)?).take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Sizes and data of a file of unsigned bytes: two zeros, type 8, the rank, then each size as a
/// big-endian u32.
fn parse<const RANK: usize>(
    mut bytes: Vec<u8>,
) -> Result<([usize; RANK], Vec<u8>), (String, String)> {
    let header = 4 + 4 * RANK;
    let magic = [0, 0, 8, u8::try_from(RANK).unwrap_or(u8::MAX)];
    if bytes.len() < header || bytes[..4] != magic {
        let got = format!("{:02x?}", &bytes[..bytes.len().min(4)]);
        return Err((format!("an IDX header {magic:02x?} and {RANK} sizes"), got));
    }
    let mut sizes = [0; RANK];
    for (size, word) in sizes.iter_mut().zip(bytes[4..header].chunks_exact(4)) {
        *size = u32::from_be_bytes([word[0], word[1], word[2], word[3]]) as usize;
    }
    let count = sizes.iter().try_fold(1_usize, |n, &size| n.checked_mul(size));
    if count != Some(bytes.len() - header) {
        let expected = format!("as many bytes as the sizes {sizes:?} say");
        return Err((expected, format!("{} bytes", bytes.len() - header)));
    }
    bytes.drain(..header);
    Ok((sizes, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let mut reader = Reader::new(directory.path());
        let split = reader.split("a").unwrap();
        assert_eq!((split.len(), split.rows, split.columns), (2, 1, 3));
        assert_eq!((split.picture(1), split.labels.as_slice()), (&b"def"[..], &[7, 1][..]));
        assert!(split.picture(2).is_empty());
        assert_eq!(reader.digest(), sha256(&[PICTURES, LABELS].concat()));
    }

    #[test]
    fn files_that_are_not_what_their_header_says_are_refused() {
        let huge = b"\0\0\x08\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff";
        let none = b"\0\0\x08\x03\0\0\0\0\0\0\0\0\0\0\0\0";
        for pictures in [&PICTURES[..PICTURES.len() - 1], LABELS, b"", b"\0\0", huge, none] {
            let directory = directory(pictures, LABELS);
            assert!(Reader::new(directory.path()).split("a").is_err(), "{pictures:?}");
        }
        let directory = directory(PICTURES, b"\0\0\x08\x01\0\0\0\x01\x07");
        let error = Reader::new(directory.path()).split("a").unwrap_err().to_string();
        assert!(error.contains("2 labels"), "{error}");
        let error = Reader::new(directory.path()).split("b").unwrap_err().to_string();
        assert!(error.contains("b-images-idx3-ubyte.gz"), "{error}");
    }
}
