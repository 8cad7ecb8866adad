//! Where a network's parameters come from. A network is built by one constructor that asks a
//! [`Parameters`] for each tensor by name and shape: a [`Loader`](super::Loader) answers from a package's weights
//! (serving), a [`Trainable`] makes a fresh variable (training).

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Why weights were refused.
#[derive(Debug, thiserror::Error)]
pub enum WeightError {
    #[error("weights.safetensors cannot be read: {0}")]
    Format(String),
    #[error("tensor {name:?} is missing: expected shape {expected:?}")]
    Missing { name: String, expected: Vec<usize> },
    #[error("tensor {name:?} has shape {got:?}: expected {expected:?}")]
    Shape { name: String, expected: Vec<usize>, got: Vec<usize> },
    #[error("tensor {name:?} holds {got}: expected F32, F16 or BF16")]
    Datatype { name: String, got: String },
    #[error("tensor {name:?} holds a value that is not finite (element {index})")]
    NotFinite { name: String, index: usize },
    #[error("weights hold tensors that the network does not have: {0:?}")]
    Extra(Vec<String>),
    #[error("tensor {name:?} cannot be placed on the device: {reason}")]
    Device { name: String, reason: String },
}

/// How a fresh parameter is filled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    Constant(f32),
    /// Uniform in ±bound.
    Uniform(f32),
    /// Normal with this standard deviation.
    Normal(f32),
}

impl Init {
    /// PyTorch's default for linear, convolution and recurrent layers: uniform in `±1/√fan_in`.
    #[must_use]
    pub fn fan_in(fan_in: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a fan-in is small")]
        let fan_in = fan_in.max(1) as f32;
        Self::Uniform(1.0 / fan_in.sqrt())
    }
}

/// Gives a network its tensors by name.
pub trait Parameters {
    /// A trained parameter.
    ///
    /// # Errors
    /// [`WeightError`] when there is no such tensor, or not of this shape.
    fn get(&mut self, name: &str, shape: &[usize], init: Init) -> Result<Tensor, WeightError>;

    /// A tensor that training updates without a gradient: running statistics.
    ///
    /// # Errors
    /// As [`Parameters::get`].
    fn buffer(&mut self, name: &str, shape: &[usize], fill: f32) -> Result<Tensor, WeightError>;
}

pub(super) fn place(
    name: &str,
    values: Vec<f32>,
    shape: &[usize],
    device: &Device,
) -> Result<Tensor, WeightError> {
    Tensor::from_vec(values, shape, device)
        .map_err(|error| WeightError::Device { name: name.to_owned(), reason: error.to_string() })
}

/// Tensors by name.
pub type Named = BTreeMap<String, Tensor>;

/// Makes variables: fresh ones from a seed. Keeps them by name, for the optimiser and for saving.
pub struct Trainable {
    rng: ChaCha8Rng,
    device: Device,
    parameters: BTreeMap<String, Var>,
    buffers: BTreeMap<String, Var>,
    /// Beginnings of the names of parameters that no optimiser updates.
    frozen: Vec<String>,
}

impl Trainable {
    #[must_use]
    pub fn new(seed: u64, device: &Device) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            device: device.clone(),
            parameters: BTreeMap::new(),
            buffers: BTreeMap::new(),
            frozen: Vec::new(),
        }
    }

    /// The parameters' names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parameters.keys().map(String::as_str)
    }

    /// Keeps the parameters whose names begin so, up to a dot or to their end, as they are; says whether there are any.
    /// Running statistics go on.
    pub fn freeze(&mut self, beginning: &str) -> bool {
        let any = self.names().any(|name| lies_below(name, beginning));
        if any {
            self.frozen.push(beginning.to_owned());
        }
        any
    }

    /// What the optimiser updates, in the order of names.
    #[must_use]
    pub fn variables(&self) -> Vec<Var> {
        let learns = |name: &str| !self.frozen.iter().any(|frozen| lies_below(name, frozen));
        let learned = self.parameters.iter().filter(|(name, _)| learns(name));
        learned.map(|(_, var)| var.clone()).collect()
    }

    /// Whether every value is a number.
    ///
    /// # Errors
    /// When a tensor cannot be read from the device.
    pub fn are_finite(&self) -> candle_core::Result<bool> {
        for var in self.parameters.values().chain(self.buffers.values()) {
            if !var.flatten_all()?.to_vec1::<f32>()?.iter().all(|value| value.is_finite()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The variable that is updated without a gradient, by name.
    #[must_use]
    pub fn buffer_variable(&self, name: &str) -> Option<&Var> {
        self.buffers.get(name)
    }

    /// A copy of every tensor.
    ///
    /// # Errors
    /// When a tensor cannot be copied.
    pub fn snapshot(&self) -> candle_core::Result<Named> {
        let all = self.parameters.iter().chain(&self.buffers);
        all.map(|(name, var)| Ok((name.clone(), var.as_tensor().detach().copy()?))).collect()
    }

    /// Sets every tensor to its value in `values`, which may hold others besides.
    ///
    /// # Errors
    /// [`WeightError`] naming the first tensor that is missing or of another shape.
    pub fn restore(&self, values: &Named) -> Result<(), WeightError> {
        self.set(values, |_| false)
    }

    /// As [`restore`](Self::restore), but for tensors that stay `fresh`, by name; these are told.
    ///
    /// # Errors
    /// As [`restore`](Self::restore); [`WeightError::Extra`] when `values` holds others that are not `fresh`.
    pub fn adopt(
        &self,
        values: &Named,
        fresh: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, WeightError> {
        let own =
            |name: &str| self.parameters.contains_key(name) || self.buffers.contains_key(name);
        let extra = values.keys().filter(|name| !own(name) && !fresh(name));
        let extra: Vec<String> = extra.cloned().collect();
        if !extra.is_empty() {
            return Err(WeightError::Extra(extra));
        }
        self.set(values, &fresh)?;
        let all = self.parameters.keys().chain(self.buffers.keys());
        Ok(all.filter(|name| fresh(name)).cloned().collect())
    }

    fn set(&self, values: &Named, fresh: impl Fn(&str) -> bool) -> Result<(), WeightError> {
        let all = self.parameters.iter().chain(&self.buffers);
        for (name, var) in all.filter(|(name, _)| !fresh(name)) {
            let expected = var.dims().to_vec();
            let value = values.get(name).ok_or_else(|| WeightError::Missing {
                name: name.clone(),
                expected: expected.clone(),
            })?;
            if value.dims() != expected {
                let got = value.dims().to_vec();
                return Err(WeightError::Shape { name: name.clone(), expected, got });
            }
            var.set(value).map_err(|error| WeightError::Device {
                name: name.clone(),
                reason: error.to_string(),
            })?;
        }
        Ok(())
    }

    /// All tensors as the bytes of a safetensors file, F32.
    ///
    /// # Errors
    /// [`WeightError::Format`] when a tensor cannot be copied from the device.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, WeightError> {
        let format = |error: &dyn std::fmt::Display| WeightError::Format(error.to_string());
        let mut data = Vec::new();
        for (name, var) in self.parameters.iter().chain(&self.buffers) {
            let values = var
                .flatten_all()
                .and_then(|t| t.to_dtype(DType::F32))
                .and_then(|t| t.to_vec1::<f32>())
                .map_err(|e| format(&e))?;
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            data.push((name.clone(), var.dims().to_vec(), bytes));
        }
        let views = data
            .iter()
            .map(|(name, shape, bytes)| {
                let view = safetensors::tensor::TensorView::new(
                    safetensors::Dtype::F32,
                    shape.clone(),
                    bytes,
                );
                view.map(|view| (name.clone(), view)).map_err(|e| format(&e))
            })
            .collect::<Result<Vec<_>, _>>()?;
        safetensors::serialize(views, None).map_err(|e| format(&e))
    }

    fn fill(&mut self, count: usize, init: Init) -> Vec<f32> {
        match init {
            Init::Constant(value) => vec![value; count],
            Init::Uniform(bound) => {
                (0..count).map(|_| (self.rng.random::<f32>() * 2.0 - 1.0) * bound).collect()
            }
            // Box and Muller's transform, one of its two values.
            Init::Normal(deviation) => (0..count)
                .map(|_| {
                    let (u, v) = (1.0 - self.rng.random::<f32>(), self.rng.random::<f32>());
                    (-2.0 * u.ln()).sqrt() * (std::f32::consts::TAU * v).cos() * deviation
                })
                .collect(),
        }
    }

    fn variable(&mut self, name: &str, shape: &[usize], init: Init) -> Result<Var, WeightError> {
        let values = self.fill(shape.iter().product(), init);
        let tensor = place(name, values, shape, &self.device)?;
        Var::from_tensor(&tensor)
            .map_err(|e| WeightError::Device { name: name.to_owned(), reason: e.to_string() })
    }
}

/// Whether a name is `beginning` or lies below it: `layers.1` is no beginning of `layers.10.weight`.
fn lies_below(name: &str, beginning: &str) -> bool {
    name.strip_prefix(beginning)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || beginning.ends_with('.'))
}

impl Parameters for Trainable {
    fn get(&mut self, name: &str, shape: &[usize], init: Init) -> Result<Tensor, WeightError> {
        let var = self.variable(name, shape, init)?;
        let tensor = var.as_tensor().clone();
        self.parameters.insert(name.to_owned(), var);
        Ok(tensor)
    }

    fn buffer(&mut self, name: &str, shape: &[usize], fill: f32) -> Result<Tensor, WeightError> {
        let var = self.variable(name, shape, Init::Constant(fill))?;
        let tensor = var.as_tensor().clone();
        self.buffers.insert(name.to_owned(), var);
        Ok(tensor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::Loader;

    fn saved() -> Vec<u8> {
        let mut made = Trainable::new(7, &Device::Cpu);
        made.get("w", &[2, 3], Init::fan_in(3)).unwrap();
        made.buffer("mean", &[2], 0.5).unwrap();
        made.to_safetensors().unwrap()
    }

    #[test]
    fn what_was_saved_loads_and_nothing_else_does() {
        let bytes = saved();
        let mut loader = Loader::new(&bytes, &Device::Cpu).unwrap();
        loader.get("w", &[2, 3], Init::Constant(0.0)).unwrap();
        let mean = loader.buffer("mean", &[2], 0.0).unwrap();
        assert_eq!(mean.to_vec1::<f32>().unwrap(), [0.5, 0.5]);
        loader.finish().unwrap();

        let mut loader = Loader::new(&bytes, &Device::Cpu).unwrap();
        let error = loader.get("w", &[3, 2], Init::Constant(0.0)).unwrap_err();
        assert!(matches!(error, WeightError::Shape { .. }), "{error}");
        let error = loader.get("b", &[1], Init::Constant(0.0)).unwrap_err();
        assert!(matches!(error, WeightError::Missing { .. }), "{error}");
        assert!(matches!(loader.finish(), Err(WeightError::Extra(names)) if names == ["mean"]));
    }

    #[test]
    fn a_frozen_beginning_ends_at_a_dot() {
        let frozen = |beginning: &str| {
            let mut made = Trainable::new(7, &Device::Cpu);
            for name in ["layers.1.weight", "layers.10.weight", "layers.1x"] {
                made.get(name, &[1], Init::Constant(0.0)).unwrap();
            }
            let any = made.freeze(beginning);
            assert_eq!(any, made.variables().len() < 3);
            3 - made.variables().len()
        };
        let counts = ["layers.1", "layers.", "layers", "layers.1.weight", "layers.1.w", "lay", ""];
        assert_eq!(counts.map(frozen), [1, 3, 3, 1, 0, 0, 0]);
    }

    #[test]
    fn what_a_parent_has_beyond_the_network_is_refused() {
        let mut made = Trainable::new(7, &Device::Cpu);
        made.get("head.weight", &[1], Init::Constant(0.0)).unwrap();
        let mut values = made.snapshot().unwrap();
        assert_eq!(made.adopt(&values, |_| true).unwrap(), ["head.weight"]);
        values.insert("head.bias".to_owned(), values["head.weight"].clone());
        let error = made.adopt(&values, |_| false).unwrap_err();
        assert!(matches!(error, WeightError::Extra(names) if names == ["head.bias"]));
        made.adopt(&values, |name| name.starts_with("head.")).unwrap();
        made.restore(&values).unwrap();
    }

    #[test]
    fn a_value_that_is_no_number_is_found() {
        let mut made = Trainable::new(7, &Device::Cpu);
        made.get("w", &[2], Init::Constant(1.0)).unwrap();
        assert!(made.are_finite().unwrap());
        made.buffer("mean", &[2], f32::NAN).unwrap();
        assert!(!made.are_finite().unwrap());
    }

    #[test]
    fn one_seed_gives_the_same_weights() {
        assert_eq!(saved(), saved());
    }
}
