//! The network as a list of operations on values: a batch norm and an activation have joined the layer
//! before them, and where a picture lies in memory is not decided yet.

use std::iter::Peekable;
use std::slice::Iter;

use candle_core::{Result, Tensor};

use crate::arch::cnn::net::{Block, Cnn, Node, VALUES_MAX};
use crate::arch::cnn::plan::fold::Folded;
use crate::compute::kernels::{Activation, Frame, Geometry, LANES, Pool};
use crate::compute::layers::{self, BatchNorm, Convolution, Window};

/// A picture between two operations, by its place in [`Sketch::values`].
pub type Value = usize;

/// One operation.
pub struct Op<'a> {
    pub kind: OpKind<'a>,
    pub from: Value,
    /// Added before the activation.
    pub residual: Option<Value>,
    pub to: Value,
    pub activation: Activation,
}

pub enum OpKind<'a> {
    Convolution {
        filters: Folded<'a>,
        geometry: Geometry,
    },
    Depthwise {
        filters: Folded<'a>,
        geometry: Geometry,
    },
    Pool {
        kind: Pool,
        geometry: Geometry,
    },
    /// Nothing but the residual and the activation.
    Elementwise,
}

/// What the vector that the dense layers read is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// Channels, rows, columns.
    Flatten,
    /// The mean of each channel.
    Mean,
}

/// A network without a layer that is not known here.
pub struct Sketch<'a> {
    /// Value 0 is the sample. Each has the border that its readers need.
    pub values: Vec<Frame>,
    pub ops: Vec<Op<'a>>,
    pub last: Value,
    pub reduction: Reduction,
    pub dense: Vec<Folded<'a>>,
}

type Nodes<'a> = Peekable<Iter<'a, Node>>;

impl<'a> Sketch<'a> {
    /// `None` where a layer is not known here.
    pub fn new(cnn: &'a Cnn) -> Option<Self> {
        let [channels, rows, columns] = cnn.input();
        let mut sketch = Self {
            values: vec![Frame::bare(channels, [rows, columns])],
            ops: Vec::new(),
            last: 0,
            reduction: Reduction::Flatten,
            dense: Vec::new(),
        };
        let mut nodes = cnn.nodes().iter().peekable();
        sketch.last = sketch.pictures(&mut nodes, 0)?;
        sketch.reduction = match nodes.next()? {
            Node::Flatten => Reduction::Flatten,
            Node::GlobalAveragePool => Reduction::Mean,
            _ => return None,
        };
        sketch.dense = dense(&mut nodes)?;
        Some(sketch)
    }

    /// Whether no picture, and no layer over a flattened one, is larger than a package may ask for.
    pub fn is_bounded(&self) -> bool {
        let features = match self.reduction {
            Reduction::Flatten => self.values[self.last].len_within(VALUES_MAX),
            Reduction::Mean => Some(self.values[self.last].channels),
        };
        let outputs = self.dense.first().map_or(1, |dense| dense.filters().bias.len());
        let weights = features.and_then(|count| count.checked_mul(outputs.next_multiple_of(LANES)));
        self.values.iter().all(|frame| frame.len_within(VALUES_MAX).is_some())
            && weights.is_some_and(|count| count <= 4 * VALUES_MAX)
    }

    /// Operations up to the first node that makes a vector; the last value.
    fn pictures(&mut self, nodes: &mut Nodes<'a>, from: Value) -> Option<Value> {
        let mut at = from;
        while let Some(node) =
            nodes.next_if(|node| !matches!(node, Node::Flatten | Node::GlobalAveragePool))
        {
            at = match node {
                Node::Convolution(layer) => self.convolution(layer, nodes, at)?,
                Node::Activation(layer) => self.elementwise(at, None, layer.kernel()),
                Node::MaxPool(layer) => self.pool(Pool::Maximum, &layer.0, at)?,
                Node::AveragePool(layer) => self.pool(Pool::Average, &layer.0, at)?,
                Node::Dropout(_) => at,
                Node::Block(block) => self.block(block, nodes, at)?,
                // A norm that follows no convolution, and vectors, stay with the graph.
                Node::BatchNorm(_) | Node::Linear(_) | Node::Flatten | Node::GlobalAveragePool => {
                    return None;
                }
            };
        }
        Some(at)
    }

    fn convolution(
        &mut self,
        layer: &'a Convolution,
        nodes: &mut Nodes<'a>,
        from: Value,
    ) -> Option<Value> {
        let size = layer.size();
        let filters = fold(layer.weight(), layer.bias(), nodes).ok()?;
        let activation = filters.activation;
        let (geometry, to) = self.window(&size.window, from, size.output)?;
        let kind = if size.groups == 1 {
            OpKind::Convolution { filters, geometry }
        } else if size.groups == size.input && size.input == size.output {
            OpKind::Depthwise { filters, geometry }
        } else {
            return None;
        };
        self.ops.push(Op { kind, from, residual: None, to, activation });
        Some(to)
    }

    fn pool(&mut self, kind: Pool, window: &Window, from: Value) -> Option<Value> {
        let at = window.place(self.values[from].size)?;
        let geometry = geometry(window, at.before);
        let to = self.value(Frame::bare(self.values[from].channels, at.output));
        let kind = OpKind::Pool { kind, geometry };
        self.ops.push(Op { kind, from, residual: None, to, activation: Activation::None });
        Some(to)
    }

    fn elementwise(
        &mut self,
        from: Value,
        residual: Option<Value>,
        activation: Activation,
    ) -> Value {
        let Frame { channels, size, .. } = self.values[from];
        let to = self.value(Frame::bare(channels, size));
        self.ops.push(Op { kind: OpKind::Elementwise, from, residual, to, activation });
        to
    }

    /// The last convolution of a residual block adds the shortcut while its sums are in registers.
    fn block(&mut self, block: &'a Block, nodes: &mut Nodes<'a>, from: Value) -> Option<Value> {
        let shortcut = match &block.shortcut {
            Some(shortcut) => Some(self.pictures(&mut shortcut.iter().peekable(), from)?),
            None => None,
        };
        let end = self.pictures(&mut block.body.iter().peekable(), from)?;
        let mut activation = block.activation.map_or(Activation::None, layers::Activation::kernel);
        if activation == Activation::None
            && let Some(Node::Activation(next)) = nodes.peek()
        {
            activation = next.kernel();
            nodes.next();
        }
        match self.ops.last_mut() {
            Some(last)
                if last.to == end
                    && end != from
                    && last.activation == Activation::None
                    && last.residual.is_none()
                    && matches!(last.kind, OpKind::Convolution { .. }) =>
            {
                last.residual = shortcut;
                last.activation = activation;
                Some(end)
            }
            _ => Some(self.elementwise(end, shortcut, activation)),
        }
    }

    fn value(&mut self, frame: Frame) -> Value {
        self.values.push(frame);
        self.values.len() - 1
    }

    /// Lays a window on a value, which gets the border that the window needs, and makes its result.
    fn window(
        &mut self,
        window: &Window,
        from: Value,
        channels: usize,
    ) -> Option<(Geometry, Value)> {
        let frame = &mut self.values[from];
        let at = window.place(frame.size)?;
        for axis in 0..2 {
            frame.before[axis] = frame.before[axis].max(at.before[axis]);
            frame.after[axis] = frame.after[axis].max(at.after[axis]);
        }
        let to = self.value(Frame::bare(channels, at.output));
        Some((geometry(window, at.before), to))
    }
}

fn geometry(window: &Window, padding: [usize; 2]) -> Geometry {
    let &Window { kernel, stride, dilation, .. } = window;
    Geometry { kernel, stride, dilation, padding }
}

/// Takes the batch norm and the activation that follow, where they do.
fn fold<'a>(
    weight: &'a Tensor,
    bias: Option<&Tensor>,
    nodes: &mut Nodes<'_>,
) -> Result<Folded<'a>> {
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

/// Linear layers with their activations.
fn dense<'a>(nodes: &mut Nodes<'a>) -> Option<Vec<Folded<'a>>> {
    let mut dense = Vec::new();
    while let Some(node) = nodes.next() {
        match node {
            Node::Linear(layer) => dense.push(fold(layer.weight(), layer.bias(), nodes).ok()?),
            Node::Dropout(_) => {}
            _ => return None,
        }
    }
    // Without a linear layer a flattened picture would be in the wrong order.
    (!dense.is_empty()).then_some(dense)
}
