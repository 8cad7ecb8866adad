//! The network as the engine runs it: by its plan on a CPU, as a graph elsewhere.

use candle_core::{Result, Tensor};

use crate::arch::cnn::net::Cnn;
use crate::arch::cnn::plan::Plan;
use crate::compute::Device;
use crate::compute::kernels::{Level, softmax_row};
use crate::compute::layers::Mode;
use crate::engine::{Network, RunError};

/// What the outputs mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// Probabilities: a softmax over the outputs.
    Softmax,
    /// The outputs as they are.
    Values,
}

/// A network that serves.
pub struct CnnNetwork {
    way: Way,
    head: Head,
    level: Level,
}

enum Way {
    Plan(Plan),
    Graph { cnn: Cnn, device: Device },
}

impl CnnNetwork {
    /// Takes the plan where there is one.
    pub fn new(cnn: Cnn, head: Head, device: &Device, level: Level) -> Self {
        let plan = device.is_cpu().then(|| Plan::new(&cnn, level)).flatten();
        let way = plan.map_or_else(|| Way::Graph { cnn, device: device.clone() }, Way::Plan);
        Self { way, head, level }
    }

    fn logits(&self, batch: &[&Vec<f32>]) -> Result<Vec<Vec<f32>>> {
        match &self.way {
            Way::Plan(plan) => Ok(plan.run(batch)),
            Way::Graph { cnn, device } => {
                let x: Tensor = cnn.batch(batch, device)?;
                cnn.forward(&x, &mut Mode::Evaluation)?.to_vec2()
            }
        }
    }
}

impl Network for CnnNetwork {
    /// Channels × height × width values, row-major.
    type Sample = Vec<f32>;
    /// One value per output.
    type Output = Vec<f32>;

    fn cost(&self, _: &Vec<f32>) -> usize {
        1
    }

    fn run(&self, batch: &[&Vec<f32>]) -> std::result::Result<Vec<Vec<f32>>, RunError> {
        let mut rows = self.logits(batch).map_err(|error| RunError(error.to_string()))?;
        if self.head == Head::Softmax {
            rows.iter_mut().for_each(|row| softmax_row(self.level, row));
        }
        Ok(rows)
    }
}
