//! `CTranslate2`'s model.bin: a version, the specification's name and revision, variables one after the
//! other, then other names for some of them. All numbers are little-endian; a text is its length as u16,
//! which counts a zero at its end.

use bytes::Bytes;

use crate::checkpoint::cursor::Cursor;
use crate::checkpoint::{Checkpoint, CheckpointError, Dtype, Form, Source, Tensor};

/// The version of the format that is read.
const VERSION: u32 = 6;

/// The types, by their number in the file.
const DTYPES: &[Dtype] = &[Dtype::F32, Dtype::I8, Dtype::I16, Dtype::I32, Dtype::F16, Dtype::BF16];

/// Whether the bytes begin as such a file does: a small version, then a text.
pub fn is(bytes: &Bytes) -> bool {
    let mut cursor = Cursor::new(bytes);
    let version = cursor.u32();
    let name = text(&mut cursor).unwrap_or_default();
    version.is_some_and(|version| version < 256)
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

pub fn read(source: Source<'_>) -> Result<Checkpoint, CheckpointError> {
    let mut cursor = Cursor::new(source.bytes);
    let cut = |at: usize| source.format("a whole model.bin", format!("an end after {at} bytes"));
    let version = cursor.u32().ok_or_else(|| cut(0))?;
    if version != VERSION {
        return Err(source.format(format!("version {VERSION}"), format!("version {version}")));
    }
    let head = (text(&mut cursor), cursor.u32(), cursor.u32());
    let (Some(specification), Some(revision), Some(count)) = head else {
        return Err(cut(cursor.at()));
    };
    let mut checkpoint = Checkpoint::new(Form::CTranslate2 { specification, revision }, source);
    for _ in 0..count {
        let header = Header::read(&mut cursor).ok_or_else(|| cut(cursor.at()))?;
        let (name, tensor) = header.tensor(source, &mut cursor)?;
        if checkpoint.insert(name.clone(), tensor).is_some() {
            return Err(source.tensor(&name, "one variable of a name", "another"));
        }
    }
    let aliases = aliases(&mut cursor).ok_or_else(|| cut(cursor.at()))?;
    for (alias, name) in aliases {
        let tensor = checkpoint.get(&name).cloned();
        let tensor =
            tensor.ok_or_else(|| source.tensor(&alias, "the name of a variable", name.clone()))?;
        if checkpoint.insert(alias.clone(), tensor).is_some() {
            return Err(source.tensor(&alias, "one variable of a name", "another"));
        }
    }
    match cursor.left() {
        0 => Ok(checkpoint),
        left => Err(source.format("an end after the aliases", format!("{left} bytes more"))),
    }
}

/// What stands before a variable's bytes.
struct Header {
    name: String,
    shape: Vec<usize>,
    dtype: u8,
    length: usize,
}

impl Header {
    fn read(cursor: &mut Cursor<'_>) -> Option<Self> {
        let name = text(cursor)?;
        let rank = cursor.u8()?;
        let shape = (0..rank)
            .map(|_| cursor.u32().and_then(|size| usize::try_from(size).ok()))
            .collect::<Option<Vec<_>>>()?;
        let dtype = cursor.u8()?;
        let length = usize::try_from(cursor.u32()?).ok()?;
        Some(Self { name, shape, dtype, length })
    }

    fn tensor(
        self,
        source: Source<'_>,
        cursor: &mut Cursor<'_>,
    ) -> Result<(String, Tensor), CheckpointError> {
        let Self { name, shape, dtype, length } = self;
        let dtype = *DTYPES.get(usize::from(dtype)).ok_or_else(|| {
            source.tensor(&name, "a type from 0 (F32) to 5 (BF16)", format!("type {dtype}"))
        })?;
        let left = cursor.left();
        let data = cursor.share(length).ok_or_else(|| {
            source.tensor(&name, format!("{length} bytes"), format!("the file's last {left}"))
        })?;
        let shown = format!("{dtype:?} {shape:?} in {length} bytes");
        let tensor = Tensor::new(dtype, shape, data)
            .ok_or_else(|| source.tensor(&name, "a shape that is its bytes'", shown))?;
        Ok((name, tensor))
    }
}

/// Other names, each with the name that stands for the bytes.
fn aliases(cursor: &mut Cursor<'_>) -> Option<Vec<(String, String)>> {
    let count = cursor.u32()?;
    (0..count).map(|_| Some((text(cursor)?, text(cursor)?))).collect()
}

fn text(cursor: &mut Cursor<'_>) -> Option<String> {
    let length = cursor.u16()?;
    let bytes = cursor.take(length.into())?.strip_suffix(&[0])?;
    String::from_utf8(bytes.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::read;

    fn text(text: &str) -> Vec<u8> {
        let mut bytes = u16::try_from(text.len() + 1).unwrap().to_le_bytes().to_vec();
        bytes.extend(text.bytes());
        bytes.push(0);
        bytes
    }

    /// One variable of two F16 in a row, known by two names.
    fn file(edit: impl Fn(&mut Vec<Vec<u8>>)) -> Bytes {
        let word = |word: u32| word.to_le_bytes().to_vec();
        let mut parts = vec![
            word(6),
            text("WhisperSpec"),
            word(3),
            word(1),
            text("layer/weight"),
            vec![2],
            word(1),
            word(2),
            vec![4],
            word(4),
            vec![0, 60, 0, 64],
            word(1),
            text("other/weight"),
            text("layer/weight"),
        ];
        edit(&mut parts);
        parts.concat().into()
    }

    fn refused(edit: impl Fn(&mut Vec<Vec<u8>>)) -> String {
        read("model.bin", &file(edit)).unwrap_err().to_string()
    }

    #[test]
    fn variables_and_their_other_names_are_read() {
        let checkpoint = read("model.bin", &file(|_| {})).unwrap();
        let form = Form::CTranslate2 { specification: "WhisperSpec".into(), revision: 3 };
        assert_eq!(checkpoint.form, form);
        for name in ["layer/weight", "other/weight"] {
            let tensor = checkpoint.get(name).unwrap();
            assert_eq!((tensor.dtype(), tensor.shape()), (Dtype::F16, &[1, 2][..]));
            assert_eq!(tensor.data()[..], [0, 60, 0, 64]);
        }
        assert_eq!(checkpoint.iter().count(), 2);
    }

    #[test]
    fn a_file_that_is_cut_short_is_refused_wherever_it_ends() {
        let whole = file(|_| {});
        for end in 0..whole.len() {
            assert!(read("model.bin", &whole.slice(..end)).is_err(), "{end}");
        }
    }

    #[test]
    fn what_lies_is_refused_by_its_name() {
        let word = |word: u32| word.to_le_bytes().to_vec();
        assert!(refused(|parts| parts[0] = word(7)).contains("expected version 6, got version 7"));
        assert!(refused(|parts| parts[3] = word(u32::MAX)).starts_with("model.bin: "));
        assert!(refused(|parts| parts[7] = word(3)).contains("tensor \"layer/weight\""));
        assert!(refused(|parts| parts[6] = word(u32::MAX)).contains("tensor \"layer/weight\""));
        assert!(refused(|parts| parts[8] = vec![9]).contains("got type 9"));
        assert!(refused(|parts| parts[9] = word(u32::MAX)).contains("4294967295 bytes"));
        assert!(refused(|parts| parts[13] = text("none")).contains("tensor \"other/weight\""));
        assert!(refused(|parts| parts[12] = text("layer/weight")).contains("one variable"));
        assert!(refused(|parts| parts.push(vec![0])).contains("1 bytes more"));
        let twice = refused(|parts| {
            parts[11] = word(2);
            parts.extend([text("other/weight"), text("layer/weight")]);
        });
        assert!(twice.contains("tensor \"other/weight\": expected one variable"), "{twice}");
    }
}
