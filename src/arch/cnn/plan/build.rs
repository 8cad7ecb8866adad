//! From the network's nodes to steps: a batch norm and an activation join the layer before them.

use std::iter::Peekable;
use std::slice::Iter;

use candle_core::{Result, Tensor};

use crate::arch::cnn::net::{Block, Cnn, Node};
use crate::arch::cnn::plan::fold::Folded;
use crate::arch::cnn::plan::step::{Frame, Residual, Step};
use crate::arch::cnn::plan::{Dense, Plan};
use crate::compute::kernels::{Activation, Geometry, Level, Pool};
use crate::compute::layers::{self, BatchNorm, Convolution, Window};

/// What flows between steps.
#[derive(Debug, Clone, Copy)]
struct Picture {
    size: [usize; 2],
    channels: usize,
}

type Nodes<'a> = Peekable<Iter<'a, Node>>;

/// The plan of a network, or `None` where a layer is not known here.
pub fn plan(cnn: &Cnn, level: Level) -> Option<Plan> {
    let [channels, rows, columns] = cnn.input();
    let mut picture = Picture { size: [rows, columns], channels };
    let mut nodes = cnn.nodes().iter().peekable();
    let mut steps = pictures(&mut nodes, &mut picture)?;
    // What is left works on a vector: all pixels after a flatten, one after a global pool.
    match nodes.next()? {
        Node::Flatten => {}
        Node::GlobalAveragePool => {
            steps.push(Step::Mean { channels: picture.channels });
            picture.size = [1, 1];
        }
        _ => return None,
    }
    let features = picture.size[0] * picture.size[1] * picture.channels;
    let dense = dense(&mut nodes, picture.channels)?;
    Some(Plan {
        level,
        input: cnn.input(),
        steps,
        features,
        dense,
        outputs: cnn.outputs(),
        idle: std::sync::Mutex::default(),
    })
}

/// Steps up to the first node that makes a vector.
fn pictures(nodes: &mut Nodes<'_>, picture: &mut Picture) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    while let Some(node) = nodes.next_if(|n| !matches!(n, Node::Flatten | Node::GlobalAveragePool))
    {
        match node {
            Node::Convolution(layer) => steps.push(convolution(layer, nodes, picture)?),
            Node::Activation(activation) => steps.push(Step::Activate(activation.kernel())),
            Node::MaxPool(layer) => {
                steps.push(pool(Pool::Maximum, &layer.0, f32::NEG_INFINITY, picture)?);
            }
            Node::AveragePool(layer) => steps.push(pool(Pool::Average, &layer.0, 0.0, picture)?),
            Node::Dropout(_) => {}
            Node::Block(block) => steps.extend(residual(block, nodes, picture)?),
            // A norm that follows no convolution, and vectors, stay with the graph.
            Node::BatchNorm(_) | Node::Linear(_) | Node::Flatten | Node::GlobalAveragePool => {
                return None;
            }
        }
    }
    Some(steps)
}

fn convolution(layer: &Convolution, nodes: &mut Nodes<'_>, picture: &mut Picture) -> Option<Step> {
    let size = layer.size();
    let folded = fold(layer.weight(), layer.bias(), nodes).ok()?;
    let activation = folded.activation;
    let (frame, geometry) = place(&size.window, picture, 0.0)?;
    let step = if size.groups == 1 && size.window.kernel == [1, 1] && geometry.stride == [1, 1] {
        let pixels = geometry.output[0] * geometry.output[1];
        if frame.inner != frame.outer {
            return None;
        }
        Step::Point { weights: folded.convolution(), pixels, activation }
    } else if size.groups == 1 {
        Step::Convolve { weights: folded.convolution(), frame, geometry, activation }
    } else if size.groups == size.input && size.input == size.output {
        Step::Depthwise { weights: folded.depthwise(), frame, geometry, activation }
    } else {
        return None;
    };
    *picture = Picture { size: geometry.output, channels: size.output };
    Some(step)
}

/// Takes the batch norm and the activation that follow, where they do.
fn fold(weight: &Tensor, bias: Option<&Tensor>, nodes: &mut Nodes<'_>) -> Result<Folded> {
    let norm: Option<&BatchNorm> = match nodes.peek() {
        Some(Node::BatchNorm(norm)) => {
            nodes.next();
            Some(norm)
        }
        _ => None,
    };
    let mut folded = Folded::new(weight, bias, norm)?;
    if let Some(Node::Activation(activation)) = nodes.peek() {
        folded.activation = activation.kernel();
        nodes.next();
    }
    Ok(folded)
}

fn pool(kind: Pool, window: &Window, fill: f32, picture: &mut Picture) -> Option<Step> {
    let (frame, geometry) = place(window, picture, fill)?;
    picture.size = geometry.output;
    Some(Step::Pool { kind, frame, geometry, channels: picture.channels })
}

fn place(window: &Window, picture: &Picture, fill: f32) -> Option<(Frame, Geometry)> {
    let at = window.place(picture.size)?;
    let outer = [0, 1].map(|axis| at.before[axis] + at.input[axis] + at.after[axis]);
    let frame =
        Frame { inner: at.input, before: at.before, outer, channels: picture.channels, fill };
    let geometry = Geometry {
        input: outer,
        output: at.output,
        kernel: window.kernel,
        stride: window.stride,
        dilation: window.dilation,
    };
    Some((frame, geometry))
}

/// A block that adds nothing is its steps.
fn residual(block: &Block, nodes: &mut Nodes<'_>, picture: &mut Picture) -> Option<Vec<Step>> {
    let mut before = *picture;
    let body = pictures(&mut block.body.iter().peekable(), picture)?;
    let Some(shortcut) = &block.shortcut else {
        let mut body = body;
        body.extend(block.activation.map(|activation| Step::Activate(activation.kernel())));
        return Some(body);
    };
    let shortcut = pictures(&mut shortcut.iter().peekable(), &mut before)?;
    let mut activation = block.activation.map_or(Activation::None, layers::Activation::kernel);
    if activation == Activation::None
        && let Some(Node::Activation(next)) = nodes.peek()
    {
        activation = next.kernel();
        nodes.next();
    }
    Some(vec![Step::Residual(Residual { body, shortcut, activation })])
}

/// Linear layers with their activations. The first reads a picture of `channels`, pixel by pixel.
fn dense(nodes: &mut Nodes<'_>, mut channels: usize) -> Option<Vec<Dense>> {
    let mut dense = Vec::new();
    while let Some(node) = nodes.next() {
        match node {
            Node::Linear(layer) => {
                let folded = fold(layer.weight(), layer.bias(), nodes).ok()?;
                let weights = folded.linear(channels);
                dense.push(Dense { weights, activation: folded.activation });
                channels = 1;
            }
            Node::Dropout(_) => {}
            _ => return None,
        }
    }
    // Without a linear layer a flattened picture would be in the wrong order.
    (!dense.is_empty()).then_some(dense)
}
