//! safetensors: a JSON header of names, types, shapes and offsets, then the bytes.

use std::collections::BTreeMap;

use ::safetensors::tensor::TensorView;
use ::safetensors::{Dtype as Theirs, SafeTensors, serialize};
use bytes::Bytes;

use crate::checkpoint::{Checkpoint, CheckpointError, Dtype, Form, Source, Tensor};

/// Whether the bytes begin as such a file does: the header's length, then the header.
pub fn is(bytes: &Bytes) -> bool {
    bytes.get(8) == Some(&b'{')
}

/// The types that are read.
const DTYPES: &[(Theirs, Dtype)] = &[
    (Theirs::C64, Dtype::C64),
    (Theirs::F64, Dtype::F64),
    (Theirs::F32, Dtype::F32),
    (Theirs::F16, Dtype::F16),
    (Theirs::BF16, Dtype::BF16),
    (Theirs::I64, Dtype::I64),
    (Theirs::I32, Dtype::I32),
    (Theirs::I16, Dtype::I16),
    (Theirs::I8, Dtype::I8),
    (Theirs::U8, Dtype::U8),
    (Theirs::BOOL, Dtype::Bool),
];

pub fn read(source: Source<'_>) -> Result<Checkpoint, CheckpointError> {
    let whole = "a whole safetensors file";
    let file = SafeTensors::deserialize(source.bytes)
        .map_err(|error| source.format(whole, error.to_string()))?;
    let mut checkpoint = Checkpoint::new(Form::Safetensors, source);
    for (name, view) in file.iter() {
        let dtype = DTYPES.iter().find(|(theirs, _)| *theirs == view.dtype());
        let (_, dtype) = dtype.ok_or_else(|| {
            source.tensor(
                name,
                "C64, F64 to F16, BF16, I64 to I8, U8 or BOOL",
                view.dtype().to_string(),
            )
        })?;
        let data = source.bytes.slice_ref(view.data());
        let tensor = Tensor::new(*dtype, view.shape().to_vec(), data).ok_or_else(|| {
            source.tensor(name, "a shape that is its bytes'", format!("{:?}", view.shape()))
        })?;
        checkpoint.insert(name, tensor);
    }
    Ok(checkpoint)
}

pub fn write(tensors: &BTreeMap<String, Tensor>) -> Result<Vec<u8>, CheckpointError> {
    let refuse = |error: ::safetensors::SafeTensorError| CheckpointError::Write(error.to_string());
    let views = tensors
        .iter()
        .map(|(name, tensor)| {
            let dtype = DTYPES.iter().find(|(_, ours)| *ours == tensor.dtype());
            let dtype = dtype.map_or(Theirs::F32, |(theirs, _)| *theirs);
            let view = TensorView::new(dtype, tensor.shape().to_vec(), tensor.data());
            view.map(|view| (name, view)).map_err(refuse)
        })
        .collect::<Result<Vec<_>, _>>()?;
    serialize(views, None).map_err(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{read, to_safetensors};

    fn file() -> Vec<u8> {
        let tensor = |dtype, shape: &[usize], data: &'static [u8]| {
            Tensor::new(dtype, shape.to_vec(), Bytes::from_static(data)).unwrap()
        };
        let half = tensor(Dtype::F16, &[2, 1], &[0, 60, 0, 64]);
        let count = tensor(Dtype::I64, &[], &[1, 0, 0, 0, 0, 0, 0, 0]);
        let tensors = BTreeMap::from([("half".to_owned(), half), ("count".to_owned(), count)]);
        to_safetensors(&tensors).unwrap()
    }

    #[test]
    fn what_was_written_is_read_with_its_types() {
        let checkpoint = read("x", &file().into()).unwrap();
        assert_eq!(checkpoint.form, Form::Safetensors);
        let half = checkpoint.get("half").unwrap();
        assert_eq!((half.dtype(), half.shape()), (Dtype::F16, &[2, 1][..]));
        assert_eq!(half.data()[..], [0, 60, 0, 64]);
        assert_eq!(checkpoint.get("count").unwrap().dtype(), Dtype::I64);
    }

    #[test]
    fn a_file_that_is_cut_short_or_lies_is_refused() {
        let whole = file();
        for end in 0..whole.len() {
            assert!(read("x", &whole[..end].to_vec().into()).is_err(), "{end}");
        }
        let text = |from: &str, to: &str| {
            let header = String::from_utf8_lossy(&whole[8..]).replace(from, to);
            let mut file = whole[..8].to_vec();
            file.extend(header.bytes());
            read("x", &file.into()).unwrap_err().to_string()
        };
        assert!(text("[2,1]", "[3,1]").starts_with("x: expected a whole safetensors file"));
        assert!(text("\"F16\"", "\"F17\"").starts_with("x: expected a whole safetensors file"));
    }

    #[test]
    fn a_type_that_is_not_read_is_named() {
        let view = TensorView::new(Theirs::F8_E4M3, vec![2], &[0, 0]).unwrap();
        let file = serialize([("small", view)], None).unwrap();
        let error = read("x", &file.into()).unwrap_err().to_string();
        assert!(error.contains("tensor \"small\"") && error.contains("F8_E4M3"), "{error}");
    }

    #[test]
    fn a_header_that_claims_to_be_huge_is_refused_before_it_is_read() {
        let mut file = file();
        file[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(read("x", &file.into()).is_err());
    }
}
