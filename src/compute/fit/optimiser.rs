//! SGD with momentum, and `AdamW`.

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, Var};
use serde::Deserialize;

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    Sgd,
    Adamw,
}

/// An optimiser as a recipe names it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimiserConfig {
    pub method: Method,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// SGD only.
    #[serde(default)]
    pub momentum: f64,
    /// Decoupled for `AdamW` (Loshchilov and Hutter 2019), added to the gradient for SGD. Applied to
    /// parameters of two or more dimensions.
    #[serde(default)]
    pub weight_decay: f64,
    /// The largest norm of all gradients together; larger ones are scaled down to it. 0 turns it off.
    #[serde(default)]
    pub clip_norm: f64,
}

struct Slot {
    var: Var,
    first: Tensor,
    second: Option<Tensor>,
}

/// Holds the variables and their moments.
pub struct Optimiser {
    config: OptimiserConfig,
    slots: Vec<Slot>,
    steps: i32,
}

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

impl Optimiser {
    /// # Errors
    /// When the moments cannot be allocated.
    pub fn new(config: OptimiserConfig, variables: Vec<Var>) -> Result<Self> {
        let slots = variables
            .into_iter()
            .map(|var| {
                let first = var.zeros_like()?;
                let second = match config.method {
                    Method::Sgd => None,
                    Method::Adamw => Some(var.zeros_like()?),
                };
                Ok(Slot { var, first, second })
            })
            .collect::<Result<_>>()?;
        Ok(Self { config, slots, steps: 0 })
    }

    /// One update with the learning rate at `factor` × its peak. Returns the norm of the gradients
    /// before clipping; when it is not finite, nothing was updated.
    ///
    /// # Errors
    /// When the arithmetic fails.
    pub fn step(&mut self, gradients: &GradStore, factor: f64) -> Result<f64> {
        self.steps += 1;
        let norm = self.norm(gradients)?;
        if !norm.is_finite() {
            return Ok(norm);
        }
        let clip = self.config.clip_norm;
        let scale = if clip > 0.0 && norm > clip { clip / norm } else { 1.0 };
        let rate = self.config.learning_rate * factor;
        for slot in &mut self.slots {
            let Some(gradient) = gradients.get(&slot.var) else { continue };
            // Moments outlive the step: a gradient that kept its graph would keep every step's alive.
            let gradient = (gradient.detach() * scale)?;
            slot.update(&self.config, &gradient, rate, self.steps)?;
        }
        Ok(norm)
    }

    fn norm(&self, gradients: &GradStore) -> Result<f64> {
        let mut sum = 0.0;
        for gradient in self.slots.iter().filter_map(|slot| gradients.get(&slot.var)) {
            sum += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
        }
        Ok(sum.sqrt())
    }
}

impl Slot {
    fn update(
        &mut self,
        config: &OptimiserConfig,
        gradient: &Tensor,
        rate: f64,
        steps: i32,
    ) -> Result<()> {
        let decay = if self.var.rank() > 1 { config.weight_decay } else { 0.0 };
        let now = self.var.as_tensor().detach();
        let next = match &mut self.second {
            None => {
                let gradient = (gradient + (&now * decay)?)?;
                self.first = ((&self.first * config.momentum)? + gradient)?;
                (now - (&self.first * rate)?)?
            }
            Some(second) => {
                self.first = ((&self.first * BETA1)? + (gradient * (1.0 - BETA1))?)?;
                *second = ((&*second * BETA2)? + (gradient.sqr()? * (1.0 - BETA2))?)?;
                let mean = (&self.first / (1.0 - BETA1.powi(steps)))?;
                let spread = (&*second / (1.0 - BETA2.powi(steps)))?.sqrt()?;
                let kept = (now * (1.0 - rate * decay))?;
                (kept - ((mean / (spread + EPSILON)?)? * rate)?)?
            }
        };
        self.var.set(&next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn falls(method: Method) {
        let var = Var::new(&[[3.0_f32, -2.0]], &Device::Cpu).unwrap();
        let config = OptimiserConfig {
            method,
            learning_rate: 0.1,
            momentum: 0.5,
            weight_decay: 0.0,
            clip_norm: 1.0,
        };
        let mut optimiser = Optimiser::new(config, vec![var.clone()]).unwrap();
        for _ in 0..200 {
            let loss = var.sqr().unwrap().sum_all().unwrap();
            optimiser.step(&loss.backward().unwrap(), 1.0).unwrap();
        }
        let left = var.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(left < 1e-2, "{method:?} left {left}");
    }

    #[test]
    fn both_methods_find_the_minimum_of_a_bowl() {
        falls(Method::Sgd);
        falls(Method::Adamw);
    }
}
