//! Where the windows of a convolution or a pool lie on a picture.

use candle_core::{Device, Result, Tensor};

/// How far a window may hang over the picture's edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// Rows above and below, columns left and right.
    Explicit([usize; 2]),
    /// `TensorFlow`'s SAME: ⌈size / stride⌉ outputs; an odd row or column goes below or right.
    Same,
}

/// A window's size and steps, each as rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    pub padding: Padding,
}

/// A window laid on a picture of a certain size, each field as rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    pub input: [usize; 2],
    pub output: [usize; 2],
    /// Padding above and left.
    pub before: [usize; 2],
    /// Padding below and right.
    pub after: [usize; 2],
}

impl Window {
    /// Lays the window on a picture of `input` rows and columns. `None` when a size is 0, overflows,
    /// or the window is larger than the padded picture.
    #[must_use]
    pub fn place(&self, input: [usize; 2]) -> Option<Placement> {
        let rows = self.axis(0, input[0])?;
        let columns = self.axis(1, input[1])?;
        Some(Placement {
            input,
            output: [rows.0, columns.0],
            before: [rows.1, columns.1],
            after: [rows.2, columns.2],
        })
    }

    /// Outputs, padding before and padding after.
    fn axis(&self, axis: usize, input: usize) -> Option<(usize, usize, usize)> {
        let (kernel, stride) = (self.kernel[axis], self.stride[axis]);
        if input == 0 || stride == 0 || self.dilation[axis] == 0 {
            return None;
        }
        let reach = kernel.checked_sub(1)?.checked_mul(self.dilation[axis])?.checked_add(1)?;
        match self.padding {
            Padding::Explicit(pads) => {
                let padded = input.checked_add(pads[axis].checked_mul(2)?)?;
                Some((padded.checked_sub(reach)? / stride + 1, pads[axis], pads[axis]))
            }
            Padding::Same => {
                let output = input.div_ceil(stride);
                let needed = (output - 1).checked_mul(stride)?.checked_add(reach)?;
                let total = needed.saturating_sub(input);
                Some((output, total / 2, total - total / 2))
            }
        }
    }

    /// Whether rows and columns are stepped over alike, which candle's own operations ask for.
    pub(super) fn is_square(&self) -> bool {
        self.stride[0] == self.stride[1] && self.dilation[0] == self.dilation[1]
    }

    /// For each output position, for each kernel position, the flat index of the input position under
    /// it; `edge` says what stands in for one outside the picture.
    pub(super) fn indices(&self, at: &Placement, edge: Edge, device: &Device) -> Result<Tensor> {
        let [rows, columns] = [0, 1].map(|axis| self.axis_indices(at, axis, edge));
        let [kernel_rows, kernel_columns] = self.kernel;
        let width = at.input[1];
        let mut indices = Vec::with_capacity(rows.len() * columns.len());
        for y in rows.chunks_exact(kernel_rows) {
            for x in columns.chunks_exact(kernel_columns) {
                for &y in y {
                    indices.extend(x.iter().map(|&x| match (y, x) {
                        (Some(y), Some(x)) => u32::try_from(y * width + x).unwrap_or(OUTSIDE),
                        _ => OUTSIDE,
                    }));
                }
            }
        }
        Tensor::new(indices, device)
    }

    /// The input index under each output × kernel position of one axis.
    fn axis_indices(&self, at: &Placement, axis: usize, edge: Edge) -> Vec<Option<usize>> {
        let size = at.input[axis];
        let under = |output: usize, kernel: usize| {
            let padded = output * self.stride[axis] + kernel * self.dilation[axis];
            let inside = padded.checked_sub(at.before[axis]).filter(|&i| i < size);
            match edge {
                Edge::Zero => inside,
                Edge::Nearest => Some(padded.saturating_sub(at.before[axis]).min(size - 1)),
            }
        };
        let kernel = self.kernel[axis];
        (0..at.output[axis]).flat_map(|o| (0..kernel).map(move |k| under(o, k))).collect()
    }
}

/// candle's `index_select` reads this index as a zero, and `index_add` passes it over.
const OUTSIDE: u32 = u32::MAX;

/// What stands in for a position outside the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edge {
    Zero,
    /// The nearest position inside.
    Nearest,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(kernel: usize, stride: usize, padding: Padding) -> Window {
        Window { kernel: [kernel; 2], stride: [stride; 2], dilation: [1, 1], padding }
    }

    #[test]
    fn same_padding_puts_the_odd_one_below_and_right() {
        for (kernel, before, after) in [(3, 0, 1), (5, 1, 2)] {
            let at = window(kernel, 2, Padding::Same).place([224, 224]).unwrap();
            assert_eq!((at.output, at.before, at.after), ([112; 2], [before; 2], [after; 2]));
        }
        let at = window(3, 1, Padding::Same).place([7, 5]).unwrap();
        assert_eq!((at.output, at.before, at.after), ([7, 5], [1; 2], [1; 2]));
    }

    #[test]
    fn absurd_windows_have_no_place() {
        assert!(window(0, 1, Padding::Explicit([0, 0])).place([8, 8]).is_none());
        assert!(window(3, 0, Padding::Same).place([8, 8]).is_none());
        assert!(window(9, 1, Padding::Explicit([0, 0])).place([8, 8]).is_none());
        assert!(window(usize::MAX, 1, Padding::Same).place([8, 8]).is_none());
        assert!(window(3, 1, Padding::Explicit([usize::MAX, 0])).place([8, 8]).is_none());
    }

    #[test]
    fn indices_follow_output_then_kernel() {
        let window = window(2, 2, Padding::Same);
        let at = window.place([2, 3]).unwrap();
        let read =
            |edge| window.indices(&at, edge, &Device::Cpu).unwrap().to_vec1::<u32>().unwrap();
        assert_eq!(read(Edge::Zero), [0, 1, 3, 4, 2, OUTSIDE, 5, OUTSIDE]);
        assert_eq!(read(Edge::Nearest), [0, 1, 3, 4, 2, 2, 5, 5]);
    }
}
