//! From a view of a storage to a tensor of its own.

use bytes::Bytes;

use crate::checkpoint::Tensor;
use crate::checkpoint::state_dict::pickle::{Refusal, View};
use crate::checkpoint::tensor::byte_count;

/// How many bytes may still be copied: a file's tensors never need more than the file has, unless it lies.
pub struct Gathered {
    left: usize,
}

impl Gathered {
    #[must_use]
    pub fn at_most(bytes: usize) -> Self {
        Self { left: bytes }
    }

    /// The tensor that `view` shows of `data`: shared where its elements lie in a row, copied where not.
    pub fn tensor(&mut self, view: &View, data: &Bytes) -> Result<Tensor, Refusal> {
        let View { storage, offset, shape, strides } = view;
        let size = storage.dtype.size();
        let lies = |got: String| Refusal { expected: "a view inside its storage".into(), got };
        let shown = || format!("{shape:?} by {strides:?} from {offset} of {}", storage.elements);
        let bytes = byte_count(storage.dtype, shape).filter(|_| shape.len() == strides.len());
        let bytes = bytes.ok_or_else(|| lies(shown()))?;
        // Checked against the whole storage before anything is read or made.
        let last = last(view).ok_or_else(|| lies(shown()))?;
        if bytes > 0 && last >= data.len() / size || bytes > data.len() {
            return Err(lies(shown()));
        }
        let elements = if bytes == 0 {
            Bytes::new()
        } else if in_a_row(view) {
            data.slice(offset * size..offset * size + bytes)
        } else {
            self.left = self.left.checked_sub(bytes).ok_or_else(|| Refusal {
                expected: "tensors that take no more than their file".into(),
                got: shown(),
            })?;
            gather(view, data, bytes).into()
        };
        Tensor::new(storage.dtype, shape.clone(), elements).ok_or_else(|| lies(shown()))
    }
}

/// The largest index of an element; `None` where it overflows.
fn last(view: &View) -> Option<usize> {
    view.shape.iter().zip(&view.strides).try_fold(view.offset, |sum, (&size, &stride)| {
        sum.checked_add(size.saturating_sub(1).checked_mul(stride)?)
    })
}

/// Whether the elements lie one after the other, row-major. A dimension of one has no step.
fn in_a_row(view: &View) -> bool {
    let mut step = 1;
    view.shape.iter().zip(&view.strides).rev().all(|(&size, &stride)| {
        let fits = size == 1 || stride == step;
        step *= size;
        fits
    })
}

fn gather(view: &View, data: &Bytes, bytes: usize) -> Vec<u8> {
    let size = view.storage.dtype.size();
    let mut axes: Vec<Axis> = view.shape.iter().zip(&view.strides).map(Axis::from).collect();
    let mut gathered = Vec::with_capacity(bytes);
    let mut at = view.offset;
    while gathered.len() < bytes {
        gathered.extend_from_slice(&data[at * size..(at + 1) * size]);
        for axis in axes.iter_mut().rev() {
            axis.index += 1;
            if axis.index < axis.size {
                at += axis.stride;
                break;
            }
            at -= (axis.size - 1) * axis.stride;
            axis.index = 0;
        }
    }
    gathered
}

struct Axis {
    index: usize,
    size: usize,
    stride: usize,
}

impl From<(&usize, &usize)> for Axis {
    fn from((&size, &stride): (&usize, &usize)) -> Self {
        Self { index: 0, size, stride }
    }
}
