//! IDX files (`LeCun` and others, the format of MNIST), plain or gzipped: pictures and their labels.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::GzDecoder;
use sha2::{Digest as _, Sha256};

use crate::dataset::DataError;
use crate::dataset::pictures::part::Source;
use crate::dataset::pictures::{Sources, Wanted, said};
use crate::media::picture::Picture;

/// Bytes of one file once decompressed.
const FILE_BYTES_MAX: u64 = 2 << 30;

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
    pixels: Vec<u8>,
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
        let pixels = self.pixels[index * size..(index + 1) * size].to_vec();
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

fn file<const RANK: usize>(
    path: &Path,
    hash: &mut Sha256,
) -> Result<([usize; RANK], Vec<u8>), DataError> {
    let bytes = read(path).map_err(|source| DataError::Read {
        place: format!("{}, with or without .gz,", path.display()),
        source,
    })?;
    hash.update(&bytes);
    parse(bytes).map_err(|(expected, got)| DataError::Format {
        place: path.display().to_string(),
        expected,
        got,
    })
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
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
