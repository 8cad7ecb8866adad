//! What is done to one picture, step by step. Sizes and places are known at load.

use crate::compute::kernels::{
    Activation, Band, Bottleneck, Buffer, Convolution, Depthwise, Frame, Geometry, LANES, Level,
    Narrow, Picture, Pooling, Spare, activate,
};

/// A picture's place among an [`Arena`]'s.
pub type Slot = usize;

/// One operation, from slot to slot.
pub struct Step {
    pub kind: StepKind,
    pub from: Slot,
    pub residual: Option<Slot>,
    pub to: Slot,
}

pub enum StepKind {
    Convolution(Convolution, Geometry),
    Depthwise(Depthwise, Geometry),
    /// Of a sample's planes.
    Narrow(Narrow),
    Pooling(Pooling),
    /// activation(from + residual)
    Elementwise(Activation),
    Bottleneck(Box<Bottleneck>),
}

/// The pictures of one run. Borders are zero from the start, and nobody writes them.
pub struct Arena {
    slots: Vec<Buffer>,
    spare: Spare,
}

impl Arena {
    pub fn new(frames: &[Frame]) -> Self {
        // Planes are read in whole vectors, two vectors after their end.
        let slots = frames.iter().map(|frame| Buffer::zeros(frame.len() + 2 * LANES)).collect();
        Self { slots, spare: Spare::default() }
    }

    pub fn slot(&mut self, slot: Slot) -> &mut [f32] {
        &mut self.slots[slot]
    }
}

impl Step {
    pub fn run(&self, level: Level, frames: &[Frame], arena: &mut Arena) {
        let mut out = std::mem::take(&mut arena.slots[self.to]);
        let picture = |slot: Slot| Picture { frame: &frames[slot], data: &arena.slots[slot] };
        let (input, residual) = (picture(self.from), self.residual.map(picture));
        match &self.kind {
            StepKind::Convolution(layer, geometry) => {
                let added = residual.map(|picture| (picture.frame, picture.data));
                let band = Band::whole(geometry, layer.to());
                layer.run(level, band, input.data, &mut out, added);
            }
            StepKind::Depthwise(layer, geometry) => {
                layer.run(level, Band::whole(geometry, layer.to()), input.data, &mut out);
            }
            StepKind::Narrow(layer) => layer.run(level, input.data, &mut out),
            StepKind::Pooling(layer) => layer.run(level, input.data, &mut out),
            StepKind::Elementwise(activation) => {
                elementwise(level, *activation, input, residual, (&frames[self.to], &mut out));
            }
            StepKind::Bottleneck(layer) => {
                layer.run(level, input, residual, &mut out, &arena.spare);
            }
        }
        arena.slots[self.to] = out;
    }
}

fn elementwise(
    level: Level,
    activation: Activation,
    input: Picture<'_>,
    residual: Option<Picture<'_>>,
    (frame, out): (&Frame, &mut [f32]),
) {
    let width = frame.size[1] * LANES;
    for block in 0..frame.blocks() {
        for row in 0..frame.size[0] {
            let place = |frame: &Frame| block * frame.plane() + frame.at(row.cast_signed(), 0);
            let out = &mut out[place(frame)..][..width];
            out.copy_from_slice(&input.data[place(input.frame)..][..width]);
            if let Some(add) = residual {
                let add = &add.data[place(add.frame)..][..width];
                out.iter_mut().zip(add).for_each(|(out, &add)| *out += add);
            }
            activate(level, out, activation);
        }
    }
}
