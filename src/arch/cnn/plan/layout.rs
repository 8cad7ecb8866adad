//! From operations on values to steps between places in memory.

use crate::arch::cnn::plan::sketch::{Op, OpKind, Sketch, Value};
use crate::arch::cnn::plan::step::{Slot, Step, StepKind};
use crate::compute::kernels::{
    Bottleneck, Convolution, Depthwise, Frame, Geometry, LANES, Level, Narrow, Pooling,
};

/// Steps, and the frames of their slots. Slot 0 is the sample's.
pub struct Layout {
    pub steps: Vec<Step>,
    pub frames: Vec<Frame>,
    pub last: Slot,
    /// Whether the sample's slot holds planes, as it came.
    pub planar: bool,
}

/// Slots that are taken and free while the steps are laid out. A slot is taken again only by a picture
/// of the same frame, so that its border stays zero.
struct Slots {
    frames: Vec<Frame>,
    free: Vec<Slot>,
    of_value: Vec<Option<Slot>>,
}

impl Slots {
    fn take(&mut self, frame: Frame) -> Slot {
        if let Some(at) = self.free.iter().position(|&slot| self.frames[slot] == frame) {
            return self.free.swap_remove(at);
        }
        self.frames.push(frame);
        self.frames.len() - 1
    }

    fn of(&self, value: Value) -> Slot {
        self.of_value[value].unwrap_or_default()
    }
}

impl Layout {
    /// Its products are in the form in which `level` is fastest.
    pub fn new(sketch: &Sketch<'_>, level: Level) -> Self {
        let readers = |value| sketch.ops.iter().filter(move |op| op.reads(value));
        // A network's first convolution reads the few channels of a sample as they come.
        let planar = readers(0).all(|op| {
            matches!(&op.kind, OpKind::Convolution { geometry, .. } if geometry.dilation[1] == 1)
                && op.residual != Some(0)
        }) && sketch.values[0].channels < LANES
            && sketch.last != 0;
        let mut slots = Slots {
            frames: vec![sketch.values[0]],
            free: Vec::new(),
            of_value: vec![None; sketch.values.len()],
        };
        slots.of_value[0] = Some(0);
        let reads = Reads::new(sketch);
        let mut layout = Self { steps: Vec::new(), frames: Vec::new(), last: 0, planar };
        let mut at = 0;
        while at < sketch.ops.len() {
            let used = bottleneck(&sketch.ops[at..], &reads).unwrap_or(1);
            let ops = &sketch.ops[at..at + used];
            let end = &ops[used - 1];
            let to = slots.take(sketch.values[end.to]);
            slots.of_value[end.to] = Some(to);
            let kind = match ops {
                [op] => single(op, sketch, planar, level),
                _ => banded(ops, sketch, level),
            };
            let residual = end.residual.map(|value| slots.of(value));
            layout.steps.push(Step { kind, from: slots.of(ops[0].from), residual, to });
            at += used;
            // What nobody reads any more makes room; the sample's place is for the next sample.
            for value in ops.iter().flat_map(Op::values) {
                let over = reads.last[value] < at && value != sketch.last && value != 0;
                slots.free.extend(over.then(|| slots.of_value[value].take()).flatten());
            }
        }
        layout.last = slots.of(sketch.last);
        layout.frames = slots.frames;
        layout
    }
}

impl Op<'_> {
    fn values(&self) -> impl Iterator<Item = Value> {
        std::iter::once(self.from).chain(self.residual)
    }

    fn reads(&self, value: Value) -> bool {
        self.values().any(|read| read == value)
    }
}

/// How often each value is read, and by which operation last.
struct Reads {
    count: Vec<usize>,
    last: Vec<usize>,
}

impl Reads {
    fn new(sketch: &Sketch<'_>) -> Self {
        let values = sketch.values.len();
        let mut reads = Self { count: vec![0; values], last: vec![0; values] };
        for (at, op) in sketch.ops.iter().enumerate() {
            for value in op.values() {
                reads.count[value] += 1;
                reads.last[value] = at;
            }
        }
        reads
    }
}

/// How many operations from the first on are one bottleneck: [expand,] depthwise, project.
fn bottleneck(ops: &[Op<'_>], reads: &Reads) -> Option<usize> {
    let point = |op: &Op<'_>| matches!(&op.kind, OpKind::Convolution { geometry, .. } if *geometry == Geometry::POINT);
    let expand = ops.first().is_some_and(point);
    let (depthwise, project) = (ops.get(usize::from(expand))?, ops.get(usize::from(expand) + 1)?);
    let chained = ops.windows(2).take(usize::from(expand) + 1).all(|pair| {
        // Read once, and not as what is added: a band of it is all there is.
        let once = reads.count[pair[0].to] == 1;
        pair[1].from == pair[0].to && pair[0].residual.is_none() && once
    });
    let is = matches!(depthwise.kind, OpKind::Depthwise { .. }) && point(project) && chained;
    // A sample in planes is read by a convolution of its own.
    (is && ops[0].from != 0).then_some(usize::from(expand) + 2)
}

fn single(op: &Op<'_>, sketch: &Sketch<'_>, planar: bool, level: Level) -> StepKind {
    let frames = (sketch.values[op.from], sketch.values[op.to]);
    match &op.kind {
        OpKind::Convolution { filters, geometry }
            if planar
                && op.from == 0
                && op.residual.is_none()
                && Narrow::takes(geometry, frames.1.channels) =>
        {
            StepKind::Narrow(Narrow::new(filters.filters(), geometry, frames, op.activation))
        }
        OpKind::Convolution { filters, geometry } => {
            let new = if planar && op.from == 0 { Convolution::planar } else { Convolution::new };
            let layer = new(filters.filters(), geometry, frames, op.activation);
            // What a caller sends may be of any size, a pixel beside a price: floats keep the digits of both.
            let layer = if op.from == 0 { layer } else { layer.at(level) };
            StepKind::Convolution(layer, *geometry)
        }
        OpKind::Depthwise { filters, geometry } => StepKind::Depthwise(
            Depthwise::new(filters.filters(), geometry, frames, op.activation),
            *geometry,
        ),
        OpKind::Pool { kind, geometry } => {
            let (from, to) = frames;
            StepKind::Pooling(Pooling { kind: *kind, geometry: *geometry, from, to })
        }
        OpKind::Elementwise => StepKind::Elementwise(op.activation),
    }
}

/// A bottleneck of two or three operations, whose wide pictures are bands.
fn banded(ops: &[Op<'_>], sketch: &Sketch<'_>, level: Level) -> StepKind {
    let (expand, [depthwise, project]) = match ops {
        [expand, depthwise, project] => (Some(expand), [depthwise, project]),
        _ => (None, [&ops[0], &ops[1]]),
    };
    let (OpKind::Depthwise { filters, geometry }, OpKind::Convolution { filters: narrow, .. }) =
        (&depthwise.kind, &project.kind)
    else {
        unreachable!("a bottleneck is a depthwise convolution and a 1x1 one")
    };
    let (read, made) = (sketch.values[depthwise.from], sketch.values[depthwise.to]);
    let floats = |frame: &Frame| frame.blocks() * frame.line();
    let wide_line = if expand.is_some() { floats(&read) } else { 0 };
    let inputs = if expand.is_some() { sketch.values[ops[0].from].channels } else { 0 };
    let weights = inputs * read.channels + made.channels * sketch.values[project.to].channels;
    let wide_lines = [wide_line, floats(&made)];
    let lines = Bottleneck::lines(geometry, made.size[0], wide_lines, weights);
    // Lines above and below a band are lines of the band.
    let wide = Frame {
        size: [geometry.reads(lines), read.size[1]],
        before: [0, read.before[1]],
        after: [0, read.after[1]],
        ..read
    };
    let filtered = Frame { size: [lines, made.size[1]], ..made };
    let expand = expand.and_then(|op| match &op.kind {
        OpKind::Convolution { filters, geometry } => {
            let frames = (sketch.values[op.from], wide);
            Some(Convolution::new(filters.filters(), geometry, frames, op.activation).at(level))
        }
        _ => None,
    });
    let reads = if expand.is_some() { wide } else { read };
    let columns_only = Geometry { padding: [0, geometry.padding[1]], ..*geometry };
    let over = if expand.is_some() { &columns_only } else { geometry };
    let bottleneck = Bottleneck {
        depthwise: Depthwise::new(filters.filters(), over, (reads, filtered), depthwise.activation),
        project: Convolution::new(
            narrow.filters(),
            &Geometry::POINT,
            (filtered, sketch.values[project.to]),
            project.activation,
        )
        .at(level),
        geometry: *geometry,
        lines,
        height: read.size[0],
        wide,
        filtered,
        expand,
    };
    StepKind::Bottleneck(Box::new(bottleneck))
}
