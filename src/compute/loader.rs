//! Parameters from the weights of a package.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::{Device, Tensor};
use safetensors::tensor::TensorInfo;
use safetensors::{Dtype, SafeTensors};

use crate::compute::parameters::place;
use crate::compute::{Init, Parameters, Values, WeightError};

/// Answers from a safetensors file. Every tensor must be asked for exactly once.
pub struct Loader<'a> {
    file: File<'a>,
    /// Tensors that nobody has asked for yet, whose places are counted from the start of the file.
    left: BTreeMap<String, TensorInfo>,
    device: &'a Device,
}

/// The bytes of a file.
enum File<'a> {
    Bytes(&'a [u8]),
    /// In one tensor, of which the others are parts.
    Words(Tensor),
}

impl<'a> Loader<'a> {
    /// Answers with copies of what lies in `bytes`.
    ///
    /// # Errors
    /// [`WeightError::Format`] when the bytes are not a safetensors file.
    pub fn new(bytes: &'a [u8], device: &'a Device) -> Result<Self, WeightError> {
        Ok(Self { left: tensors_of(bytes)?, file: File::Bytes(bytes), device })
    }

    /// As [`Loader::new`], from a file that was read into words, of which the first `length` bytes count. On a
    /// CPU, tensors of f32 stay where they were read: a copy of them costs as much time as reading them.
    ///
    /// # Errors
    /// As [`Loader::new`].
    pub fn owning(
        (words, length): (Vec<f32>, usize),
        device: &'a Device,
    ) -> Result<Self, WeightError> {
        let bytes: &[u8] = bytemuck::cast_slice(&words);
        let left = tensors_of(&bytes[..length.min(bytes.len())])?;
        let count = words.len();
        Ok(Self { file: File::Words(place("", words, &[count], &Device::Cpu)?), left, device })
    }

    /// # Errors
    /// [`WeightError::Extra`] when the file holds tensors that nobody asked for.
    pub fn finish(self) -> Result<(), WeightError> {
        if self.left.is_empty() {
            Ok(())
        } else {
            Err(WeightError::Extra(self.left.into_keys().take(8).collect()))
        }
    }

    fn load(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, WeightError> {
        let expected = || shape.to_vec();
        let Some(info) = self.left.remove(name) else {
            return Err(WeightError::Missing { name: name.to_owned(), expected: expected() });
        };
        if info.shape != shape {
            let got = info.shape;
            return Err(WeightError::Shape { name: name.to_owned(), expected: expected(), got });
        }
        let place = info.data_offsets.0..info.data_offsets.1;
        let failed = |error: candle_core::Error| WeightError::Device {
            name: name.to_owned(),
            reason: error.to_string(),
        };
        match &self.file {
            File::Bytes(bytes) => self.copy(name, shape, info.dtype, &bytes[place]),
            File::Words(words) if self.is_usable(info.dtype, &place) => {
                let count = place.len() / size_of::<f32>();
                let part = words.narrow(0, place.start / size_of::<f32>(), count);
                let part = part.map_err(failed)?;
                check_finite(name, &Values::of(&part).map_err(failed)?)?;
                part.reshape(shape).map_err(failed)
            }
            File::Words(words) => {
                let words = Values::of(words).map_err(failed)?;
                self.copy(name, shape, info.dtype, &bytemuck::cast_slice(&words)[place])
            }
        }
    }

    /// Whether the words at a place of the file are a tensor's floats.
    fn is_usable(&self, dtype: Dtype, place: &Range<usize>) -> bool {
        let here = self.device.is_cpu() && cfg!(target_endian = "little");
        here && dtype == Dtype::F32 && place.start.is_multiple_of(size_of::<f32>())
    }

    fn copy(
        &self,
        name: &str,
        shape: &[usize],
        dtype: Dtype,
        bytes: &[u8],
    ) -> Result<Tensor, WeightError> {
        let values = floats(dtype, bytes).ok_or_else(|| WeightError::Datatype {
            name: name.to_owned(),
            got: format!("{dtype:?}"),
        })?;
        check_finite(name, &values)?;
        place(name, values, shape, self.device)
    }
}

impl Parameters for Loader<'_> {
    fn get(&mut self, name: &str, shape: &[usize], _: Init) -> Result<Tensor, WeightError> {
        self.load(name, shape)
    }

    fn buffer(&mut self, name: &str, shape: &[usize], _: f32) -> Result<Tensor, WeightError> {
        self.load(name, shape)
    }
}

/// The tensors of a file by name, with their places in it.
fn tensors_of(bytes: &[u8]) -> Result<BTreeMap<String, TensorInfo>, WeightError> {
    let (header, metadata) = SafeTensors::read_metadata(bytes)
        .map_err(|error| WeightError::Format(error.to_string()))?;
    // The header follows its own length.
    let first = size_of::<u64>() + header;
    let placed = |info: &TensorInfo| {
        let (from, to) = info.data_offsets;
        TensorInfo { data_offsets: (first + from, first + to), ..info.clone() }
    };
    Ok(metadata.tensors().into_iter().map(|(name, info)| (name, placed(info))).collect())
}

fn check_finite(name: &str, values: &[f32]) -> Result<(), WeightError> {
    // The largest bits of each part, without their sign: whole vectors at a time.
    let most = |part: &[f32]| part.iter().fold(0, |most, v| most.max(v.to_bits() << 1));
    if values.chunks(1024).all(|part| most(part) < f32::INFINITY.to_bits() << 1) {
        return Ok(());
    }
    let index = values.iter().position(|value| !value.is_finite()).unwrap_or(0);
    Err(WeightError::NotFinite { name: name.to_owned(), index })
}

fn floats(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    let words = |b: &[u8]| u16::from_le_bytes([b[0], b[1]]);
    Some(match dtype {
        Dtype::F32 => {
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
        }
        Dtype::F16 => {
            bytes.chunks_exact(2).map(|b| half::f16::from_bits(words(b)).to_f32()).collect()
        }
        Dtype::BF16 => {
            bytes.chunks_exact(2).map(|b| half::bf16::from_bits(words(b)).to_f32()).collect()
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::serialize;
    use safetensors::tensor::TensorView;

    /// Both ways to load a file.
    fn loaders(bytes: &[u8]) -> [Result<Loader<'_>, WeightError>; 2] {
        let mut words: Vec<f32> = vec![0.0; bytes.len().div_ceil(4)];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
        [Loader::new(bytes, &Device::Cpu), Loader::owning((words, bytes.len()), &Device::Cpu)]
    }

    fn file(tensors: &[(&str, Dtype, &[u8])]) -> Vec<u8> {
        let view = |&(name, dtype, data): &(&'static str, Dtype, &'static [u8])| {
            let count = data.len() * 8 / dtype.bitsize();
            (name, TensorView::new(dtype, vec![count], data).unwrap())
        };
        // Kept by the tests for as long as they run.
        serialize(
            tensors.iter().map(|&(n, d, b)| view(&(n.to_owned().leak(), d, b.to_vec().leak()))),
            None,
        )
        .unwrap()
    }

    fn bytes_of(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn tensors_are_the_same_where_they_lie_and_as_copies() {
        let floats = bytes_of(&[1.0, -2.5, 0.0]);
        // The bytes before the last one put it between two words.
        let bytes = file(&[
            ("a", Dtype::F32, &floats),
            ("h", Dtype::F16, &[0, 60]),
            ("z", Dtype::BF16, &[128, 63]),
        ]);
        for loader in loaders(&bytes) {
            let mut loader = loader.unwrap();
            let mut get = |name, count: usize| {
                loader.get(name, &[count], Init::Constant(0.0)).unwrap().to_vec1::<f32>().unwrap()
            };
            assert_eq!(get("a", 3), [1.0, -2.5, 0.0]);
            assert_eq!((get("h", 1), get("z", 1)), (vec![1.0], vec![1.0]));
            loader.finish().unwrap();
        }
    }

    #[test]
    fn weights_that_are_not_finite_are_refused() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN] {
            let bytes = file(&[("w", Dtype::F32, &bytes_of(&[f32::MAX, f32::MIN, value]))]);
            for loader in loaders(&bytes) {
                let error = loader.unwrap().get("w", &[3], Init::Constant(0.0)).unwrap_err();
                assert!(matches!(error, WeightError::NotFinite { index: 2, .. }), "{error}");
            }
        }
    }

    #[test]
    fn what_is_cut_short_or_of_another_type_is_refused() {
        let bytes = file(&[("w", Dtype::I32, &[0; 8])]);
        for loader in loaders(&bytes) {
            let error = loader.unwrap().get("w", &[2], Init::Constant(0.0)).unwrap_err();
            assert!(matches!(error, WeightError::Datatype { .. }), "{error}");
        }
        for end in [0, 7, bytes.len() - 1] {
            assert!(loaders(&bytes[..end]).iter().all(Result::is_err), "{end}");
        }
    }
}
