//! SGD with momentum (Nesterov's, too), Adam and `AdamW`.

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use serde::Deserialize;

use crate::compute::{Named, WeightError};

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    Sgd,
    /// Kingma and Ba 2015.
    Adam,
    /// Loshchilov and Hutter 2019.
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
    /// Whether SGD looks ahead along its momentum, as Sutskever and others (2013) write Nesterov's method.
    #[serde(default)]
    pub nesterov: bool,
    /// Decoupled for `AdamW`, added to the gradient for the others. Applied to parameters of two or more dimensions.
    #[serde(default)]
    pub weight_decay: f64,
    /// The largest norm of all gradients together; larger ones are scaled down to it. 0 turns it off.
    #[serde(default)]
    pub clip_norm: f64,
}

impl OptimiserConfig {
    /// # Errors
    /// The key that is of no use, and what was expected.
    pub fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: f64, fits: bool, expected: &str| {
            if fits {
                Ok(())
            } else {
                Err(format!("optimiser.{name} is {value}: expected {expected}"))
            }
        };
        let Self { learning_rate: rate, momentum, weight_decay: decay, clip_norm: clip, .. } =
            *self;
        within("learning_rate", rate, rate > 0.0 && rate.is_finite(), "a number above 0")?;
        within("momentum", momentum, (0.0..1.0).contains(&momentum), "0 to below 1")?;
        within("weight_decay", decay, decay >= 0.0 && decay.is_finite(), "0 or more")?;
        within("clip_norm", clip, clip >= 0.0 && clip.is_finite(), "0 or more; 0 turns it off")?;
        if self.method != Method::Sgd && (momentum > 0.0 || self.nesterov) {
            return Err(
                "optimiser.momentum and optimiser.nesterov belong with method = \"sgd\"".to_owned()
            );
        }
        if self.nesterov && momentum == 0.0 {
            return Err("optimiser.nesterov needs a momentum above 0".to_owned());
        }
        Ok(())
    }
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
    pub fn new(config: OptimiserConfig, variables: Vec<Var>) -> candle_core::Result<Self> {
        let slots = variables
            .into_iter()
            .map(|var| {
                let first = var.zeros_like()?;
                let second = match config.method {
                    Method::Sgd => None,
                    Method::Adam | Method::Adamw => Some(var.zeros_like()?),
                };
                Ok(Slot { var, first, second })
            })
            .collect::<candle_core::Result<_>>()?;
        Ok(Self { config, slots, steps: 0 })
    }

    /// One update with the learning rate at `factor` × its peak. Returns the norm of the gradients
    /// before clipping; when it is not finite, nothing was updated.
    ///
    /// # Errors
    /// When the arithmetic fails.
    pub fn step(&mut self, gradients: &GradStore, factor: f64) -> candle_core::Result<f64> {
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

    /// What the next step depends on beside the variables: moments, by the place of their variable.
    #[must_use]
    pub fn moments(&self) -> Named {
        let slots = self.slots.iter().enumerate();
        slots
            .flat_map(|(index, slot)| {
                let first = Some((format!("{index}.first"), slot.first.clone()));
                let second = slot.second.clone().map(|second| (format!("{index}.second"), second));
                first.into_iter().chain(second)
            })
            .collect()
    }

    /// Goes on after `steps` updates, from their [`moments`](Self::moments).
    ///
    /// # Errors
    /// [`WeightError::Missing`] or [`WeightError::Shape`] when the moments are another optimiser's.
    pub fn restore(&mut self, steps: usize, moments: &Named) -> Result<(), WeightError> {
        let find = |name: String, like: &Tensor| match moments.get(&name) {
            Some(moment) if moment.dims() == like.dims() => Ok(moment.clone()),
            Some(moment) => Err(WeightError::Shape {
                name,
                expected: like.dims().to_vec(),
                got: moment.dims().to_vec(),
            }),
            None => Err(WeightError::Missing { name, expected: like.dims().to_vec() }),
        };
        for (index, slot) in self.slots.iter_mut().enumerate() {
            slot.first = find(format!("{index}.first"), &slot.first)?;
            if let Some(second) = &mut slot.second {
                *second = find(format!("{index}.second"), second)?;
            }
        }
        self.steps = i32::try_from(steps).unwrap_or(i32::MAX);
        Ok(())
    }

    fn norm(&self, gradients: &GradStore) -> candle_core::Result<f64> {
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
    ) -> candle_core::Result<()> {
        let decay = if self.var.rank() > 1 { config.weight_decay } else { 0.0 };
        let now = self.var.as_tensor().detach();
        let next = match &mut self.second {
            None => {
                let gradient = (gradient + (&now * decay)?)?;
                self.first = ((&self.first * config.momentum)? + &gradient)?;
                let step = if config.nesterov {
                    ((&self.first * config.momentum)? + gradient)?
                } else {
                    self.first.clone()
                };
                (now - (step * rate)?)?
            }
            Some(second) => {
                let decoupled = config.method == Method::Adamw;
                let gradient =
                    &if decoupled { gradient.clone() } else { (gradient + (&now * decay)?)? };
                self.first = ((&self.first * BETA1)? + (gradient * (1.0 - BETA1))?)?;
                *second = ((&*second * BETA2)? + (gradient.sqr()? * (1.0 - BETA2))?)?;
                let mean = (&self.first / (1.0 - BETA1.powi(steps)))?;
                let spread = (&*second / (1.0 - BETA2.powi(steps)))?.sqrt()?;
                let kept = if decoupled { (now * (1.0 - rate * decay))? } else { now };
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

    fn falls(method: Method, nesterov: bool) {
        let var = Var::new(&[[3.0_f32, -2.0]], &Device::Cpu).unwrap();
        let config = OptimiserConfig {
            method,
            learning_rate: 0.1,
            momentum: if method == Method::Sgd { 0.5 } else { 0.0 },
            nesterov,
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
    fn each_method_finds_the_minimum_of_a_bowl() {
        falls(Method::Sgd, false);
        falls(Method::Sgd, true);
        falls(Method::Adam, false);
        falls(Method::Adamw, false);
    }

    fn config(text: &str) -> OptimiserConfig {
        toml::from_str(text).unwrap()
    }

    /// The variable after steps down the gradient of half its square.
    fn walked(text: &str, steps: usize) -> f32 {
        let var = Var::new(&[[1.0_f32]], &Device::Cpu).unwrap();
        let mut optimiser = Optimiser::new(config(text), vec![var.clone()]).unwrap();
        for _ in 0..steps {
            let loss = (var.sqr().unwrap().sum_all().unwrap() * 0.5).unwrap();
            optimiser.step(&loss.backward().unwrap(), 1.0).unwrap();
        }
        var.flatten_all().unwrap().to_vec1::<f32>().unwrap()[0]
    }

    #[test]
    fn steps_are_those_that_were_worked_by_hand() {
        let near =
            |got: f32, expected: f32| assert!((got - expected).abs() < 1e-6, "{got} {expected}");
        // v = 1, x = 0.9; v = 0.5 + 0.9 = 1.4, x = 0.76.
        near(walked("method = \"sgd\"\nlearning_rate = 0.1\nmomentum = 0.5", 2), 0.76);
        // v = 1, x = 1 - 0.1 (0.5 + 1) = 0.85; v = 1.35, x = 0.85 - 0.1 (0.675 + 0.85) = 0.6975.
        let nesterov = "method = \"sgd\"\nlearning_rate = 0.1\nmomentum = 0.5\nnesterov = true";
        near(walked(nesterov, 2), 0.6975);
        // The first step of Adam is the learning rate, whatever the gradient; AdamW shrinks besides.
        let decay = "learning_rate = 0.1\nweight_decay = 0.5";
        near(walked(&format!("method = \"adam\"\n{decay}"), 1), 0.9);
        near(walked(&format!("method = \"adamw\"\n{decay}"), 1), 0.85);
    }

    #[test]
    fn what_a_method_would_ignore_is_refused() {
        let refused = |more: &str| {
            let method = if more.contains("adam") { "" } else { "method = \"sgd\"\n" };
            config(&format!("{method}learning_rate = 0.1\n{more}")).check().unwrap_err()
        };
        assert!(refused("method = \"adam\"\nmomentum = 0.9").contains("sgd"));
        assert!(refused("method = \"adamw\"\nnesterov = true").contains("sgd"));
        assert!(refused("nesterov = true").contains("momentum"));
        assert!(refused("momentum = 1.0").contains("below 1"));
        assert!(refused("weight_decay = -1.0").contains("weight_decay"));
        assert!(config("method = \"sgd\"\nlearning_rate = nan").check().is_err());
        assert_eq!(config("method = \"adamw\"\nlearning_rate = 0.1").check(), Ok(()));
    }

    #[test]
    fn a_restored_optimiser_goes_on_as_if_it_had_never_stopped() {
        for method in ["sgd\"\nmomentum = 0.9", "adam\"", "adamw\""] {
            let text = format!("learning_rate = 0.1\nmethod = \"{method}");
            let var = Var::new(&[[1.0_f32]], &Device::Cpu).unwrap();
            let step = |optimiser: &mut Optimiser| {
                let loss = var.sqr().unwrap().sum_all().unwrap();
                optimiser.step(&loss.backward().unwrap(), 1.0).unwrap();
            };
            let mut first = Optimiser::new(config(&text), vec![var.clone()]).unwrap();
            (0..3).for_each(|_| step(&mut first));
            let mut second = Optimiser::new(config(&text), vec![var.clone()]).unwrap();
            second.restore(3, &first.moments()).unwrap();
            let kept = var.as_tensor().copy().unwrap();
            step(&mut first);
            let expected = var.to_vec2::<f32>().unwrap();
            var.set(&kept).unwrap();
            step(&mut second);
            assert_eq!(var.to_vec2::<f32>().unwrap(), expected, "{method}");
        }
        let var = Var::new(&[[1.0_f32]], &Device::Cpu).unwrap();
        let mut other =
            Optimiser::new(config("method = \"adam\"\nlearning_rate = 1"), vec![var]).unwrap();
        assert!(matches!(other.restore(1, &Named::new()), Err(WeightError::Missing { .. })));
    }
}
