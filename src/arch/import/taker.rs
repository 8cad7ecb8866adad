//! The tensors that a network asks for, out of a checkpoint.

use std::collections::BTreeMap;

use candle_core::{DType, Device};

use crate::arch::import::ImportError;
use crate::checkpoint::{self, Checkpoint, Tensor};
use crate::compute::{Init, Parameters, WeightError};

/// Extra tensors that an error names.
const NAMES_SHOWN: usize = 8;

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
    /// [`ImportError::Extra`] when others are left.
    pub fn finish(self, useless: fn(&str, &Tensor) -> bool) -> Result<Vec<u8>, ImportError> {
        let left = self.checkpoint.iter().filter(|(name, tensor)| !useless(name, tensor));
        let left: Vec<&str> = left.map(|(name, _)| name).collect();
        if left.is_empty() {
            return Ok(checkpoint::to_safetensors(&self.taken)?);
        }
        let names = left[..left.len().min(NAMES_SHOWN)].join(", ");
        Err(ImportError::Extra { count: left.len(), names })
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
