//! The tensors that a network asks for, out of a checkpoint.

use std::collections::BTreeMap;

use candle_core::{DType, Device};

use crate::arch::import::ImportError;
use crate::checkpoint::{self, Checkpoint, Tensor};
use crate::compute::{Init, Parameters, WeightError};

/// Extra tensors that an error names.
const NAMES_SHOWN: usize = 8;

/// Characters of such a name.
const NAME_SHOWN: usize = 120;

/// How many times the source's bytes a network may take. Names may share bytes (tied weights do), but what
/// is packed has them once for each name.
const SHARED_MAX: usize = 2;

/// Building a network from it says which tensors the network has, by our names and with their shapes;
/// each is taken out of the checkpoint by the name that it has there, and kept as it is. What it answers
/// with is only a shape: the network that serves is opened from what was packed.
pub struct Taker<'a> {
    checkpoint: Checkpoint,
    name: &'a dyn Fn(&str) -> String,
    taken: BTreeMap<String, Tensor>,
}

impl<'a> Taker<'a> {
    /// `name` gives the checkpoint's name of a tensor by ours.
    #[must_use]
    pub fn new(checkpoint: Checkpoint, name: &'a dyn Fn(&str) -> String) -> Self {
        Self { checkpoint, name, taken: BTreeMap::new() }
    }

    /// What was taken, as the bytes of weights.safetensors, by our names and with the checkpoint's types.
    /// `useless` says which of the tensors that are left no network needs.
    ///
    /// # Errors
    /// [`ImportError::Extra`] when others are left, [`ImportError::Shared`] when too many names share bytes.
    pub fn finish(self, useless: fn(&str, &Tensor) -> bool) -> Result<Vec<u8>, ImportError> {
        let left = self.checkpoint.iter().filter(|(name, tensor)| !useless(name, tensor));
        let left: Vec<&str> = left.map(|(name, _)| name).collect();
        if left.is_empty() {
            self.bounded()?;
            return Ok(checkpoint::to_safetensors(&self.taken)?);
        }
        let shown = |name: &&str| name.escape_debug().take(NAME_SHOWN).collect::<String>();
        let names: Vec<String> = left.iter().take(NAMES_SHOWN).map(shown).collect();
        Err(ImportError::Extra { count: left.len(), names: names.join(", ") })
    }

    /// Before the bytes are copied.
    fn bounded(&self) -> Result<(), ImportError> {
        let lengths = self.taken.values().map(|tensor| tensor.data().len());
        let got = lengths.fold(0_usize, usize::saturating_add);
        let source = self.checkpoint.size();
        if got > source.saturating_mul(SHARED_MAX) {
            return Err(ImportError::Shared { got, source_bytes: source });
        }
        Ok(())
    }

    fn take(&mut self, ours: &str, shape: &[usize]) -> Result<candle_core::Tensor, WeightError> {
        let theirs = (self.name)(ours);
        let name = if theirs == ours { theirs.clone() } else { format!("{theirs} (our {ours})") };
        let Some(tensor) = self.checkpoint.take(&theirs) else {
            return Err(WeightError::Missing { name, expected: shape.to_vec() });
        };
        if tensor.shape() != shape {
            let (expected, got) = (shape.to_vec(), tensor.shape().to_vec());
            return Err(WeightError::Shape { name, expected, got });
        }
        if !tensor.dtype().is_weight() {
            return Err(WeightError::Datatype { name, got: format!("{:?}", tensor.dtype()) });
        }
        if let Some(index) = tensor.not_finite() {
            return Err(WeightError::NotFinite { name, index });
        }
        self.taken.insert(ours.to_owned(), tensor);
        candle_core::Tensor::zeros(1, DType::F32, &Device::Cpu)
            .and_then(|zero| zero.broadcast_as(shape))
            .map_err(|error| WeightError::Device { name, reason: error.to_string() })
    }
}

impl Parameters for Taker<'_> {
    fn get(
        &mut self,
        name: &str,
        shape: &[usize],
        _: Init,
    ) -> Result<candle_core::Tensor, WeightError> {
        self.take(name, shape)
    }

    fn buffer(
        &mut self,
        name: &str,
        shape: &[usize],
        _: f32,
    ) -> Result<candle_core::Tensor, WeightError> {
        self.take(name, shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Dtype;

    /// Takes one tensor of 1024 bytes under so many names of ours.
    fn taken(names: usize) -> Result<Vec<u8>, ImportError> {
        let whole = Tensor::new(Dtype::F32, vec![256], vec![0; 1024].into()).unwrap();
        let file = checkpoint::to_safetensors(&BTreeMap::from([("0".to_owned(), whole.clone())]));
        let mut checkpoint = checkpoint::read("x", &file.unwrap().into()).unwrap();
        for name in 1..names {
            checkpoint.insert(name.to_string(), whole.clone());
        }
        let same = |ours: &str| ours.to_owned();
        let mut taker = Taker::new(checkpoint, &same);
        for name in 0..names {
            taker.get(&name.to_string(), &[256], Init::Constant(0.0)).unwrap();
        }
        taker.finish(|_, _| false)
    }

    #[test]
    fn names_may_share_bytes_but_not_without_end() {
        assert!(taken(2).is_ok());
        let error = taken(3).unwrap_err().to_string();
        assert!(error.contains("share the same bytes"), "{error}");
    }
}
