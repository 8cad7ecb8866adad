//! The network as the engine runs it: by its plan on a CPU, as a graph elsewhere.

use crate::arch::cnn::net::{Graph, Head};
use crate::arch::cnn::plan::Plan;
use crate::compute::kernels::{Level, softmax_row};
use crate::engine::{Network, RunError};

/// A network that serves.
pub enum CnnNetwork {
    Plan { plan: Plan, head: Head, level: Level },
    Graph(Graph),
}

impl CnnNetwork {
    /// Takes the plan where there is one; the graph's weights are then given back.
    pub fn new(graph: Graph, level: Level) -> Self {
        Self::planned(&graph, level).unwrap_or(Self::Graph(graph))
    }

    /// The plan with the weights that the graph has now, where there is one: on a CPU.
    pub fn planned(graph: &Graph, level: Level) -> Option<Self> {
        let plan = graph.device.is_cpu().then(|| Plan::new(&graph.cnn, level)).flatten()?;
        Some(Self::Plan { plan, head: graph.head, level })
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

    fn pads(&self) -> bool {
        false
    }

    fn run(&self, batch: &[&Vec<f32>]) -> Result<Vec<Vec<f32>>, RunError> {
        match self {
            Self::Graph(graph) => graph.run(batch),
            Self::Plan { plan, head, level } => {
                let mut rows = plan.run(batch);
                if *head == Head::Softmax {
                    for row in &mut rows {
                        softmax_row(*level, row);
                    }
                }
                Ok(rows)
            }
        }
    }
}
