//! Matrix product with weights packed once: `out[m, n] = activation(a[m, k] · w[n, k]ᵀ + bias + residual)`.
//!
//! A row of the result is one chain of multiply-adds over k, in order, whatever tile it falls in, or of digits
//! an exact sum: its bits do not depend on how many rows there are.

use std::borrow::Cow;

use super::Level;
use super::activation::Activation;
use super::buffer::{Buffer, Lines};
use super::convolve::Filters;
use super::digits::Digits;
use super::lanes::WIDTH;
use super::tile::{Addend, Panels, Run, Strides, Target, Walk, walk};

/// Weights `[n, k]` as panels of 16 columns: `[n / 16][k][16]`, zero-padded, with their bias. Made for a level
/// that multiplies bytes, they may be digits.
#[derive(Debug, Clone)]
pub struct Packed {
    k: usize,
    n: usize,
    panels: Buffer,
    bias: Buffer,
    /// Instead of the floats, which then are gone.
    digits: Option<Digits>,
}

impl Packed {
    /// Packs `weights`, row-major `[n, k]` as linear layers keep them. Without `bias` it is 0.
    ///
    /// # Panics
    /// When `weights` does not hold `n · k` values or `bias` not `n`.
    #[must_use]
    pub fn new(weights: &[f32], bias: Option<&[f32]>, n: usize, k: usize) -> Self {
        let bias = bias.map_or_else(|| Cow::Owned(vec![0.0; n]), Cow::Borrowed);
        Self::folded(Filters { weights, scale: &vec![1.0; n], bias: &bias }, k)
    }

    /// As [`Packed::new`], with the weights of each output multiplied by its scale.
    ///
    /// # Panics
    /// When there is not one scale, one bias and `k` weights for each output.
    #[must_use]
    pub fn folded(filters: Filters<'_>, k: usize) -> Self {
        Self::of(filters, k, &(0..k))
    }

    /// As [`Packed::folded`], with the `k` weights of each output taken in another order.
    pub(super) fn of(
        filters: Filters<'_>,
        k: usize,
        order: &(impl ExactSizeIterator<Item = usize> + Clone),
    ) -> Self {
        let n = filters.bias.len();
        filters.check(n, k);
        assert_eq!(order.len(), k, "every weight has a place");
        let mut panels = Lines::with_capacity(n.div_ceil(WIDTH) * k);
        let rows = filters.weights.chunks(WIDTH * k.max(1));
        for (rows, scale) in rows.zip(filters.scale.chunks(WIDTH)) {
            panels.extend(order.clone().map(|depth| {
                let mut line = [0.0; WIDTH];
                for ((lane, row), scale) in line.iter_mut().zip(rows.chunks_exact(k)).zip(scale) {
                    *lane = row[depth] * scale;
                }
                line
            }));
        }
        let mut bias = Buffer::zeros(n.next_multiple_of(WIDTH));
        bias[..n].copy_from_slice(filters.bias);
        Self { k, n, panels: panels.into(), bias, digits: None }
    }

    /// The form in which this level is fastest. One form is used for all products with these weights: a row's bits
    /// do not depend on how many rows there are.
    #[must_use]
    pub fn at(self, level: Level) -> Self {
        if level == Level::Amx && is_worth_digits(self.n, self.k) {
            self.into_digits()
        } else {
            self
        }
    }

    /// As digits, where this processor multiplies them.
    #[must_use]
    pub(super) fn into_digits(self) -> Self {
        if self.digits.is_some() {
            return self;
        }
        match Digits::new(&self.panels, self.k) {
            None => self,
            digits => Self { panels: Buffer::default(), digits, ..self },
        }
    }

    #[must_use]
    pub fn n(&self) -> usize {
        self.n
    }

    #[must_use]
    pub fn k(&self) -> usize {
        self.k
    }

    /// The `k` weights of one output, in order.
    ///
    /// # Panics
    /// When there is no such output.
    pub fn weights_of(&self, output: usize) -> impl Iterator<Item = f32> + '_ {
        assert!(output < self.n, "one of n outputs");
        let first = output / WIDTH * self.k * WIDTH + output % WIDTH;
        (0..self.k).map(move |depth| match &self.digits {
            Some(digits) => digits.value(depth, output),
            None => self.panels[first + depth * WIDTH],
        })
    }

    pub(super) fn panels(&self) -> Panels {
        let bias = Some(self.bias.as_ptr());
        if let Some(digits) = &self.digits {
            return Panels { bias, ..digits.panels((0, 1), (self.n, self.k)) };
        }
        Panels {
            data: self.panels.as_ptr(),
            stride: self.k * WIDTH,
            bias,
            back: None,
            k: self.k,
            n: self.n,
        }
    }
}

/// Whether products with digits of `[n, k]` weights are faster, by what each takes for one of many rows.
pub(super) fn is_worth_digits(n: usize, k: usize) -> bool {
    // In cycles of a processor with two multipliers of sixteen floats, by the instructions there are: to make the digits of
    // 64 values, to multiply them by a panel's, and to write a panel's sums.
    const SPLIT: usize = 28;
    const MULTIPLY: usize = 7;
    const WRITE: usize = 4;
    let (panels, blocks) = (n.div_ceil(WIDTH), k.div_ceil(4 * WIDTH));
    let floats = panels * k / 2;
    let digits = blocks * (SPLIT + MULTIPLY * panels) + WRITE * panels;
    4 * digits <= 3 * floats
}

/// One product. Strides are floats from one row to the next.
pub struct Product<'a> {
    pub a: &'a [f32],
    /// Less than k where rows overlap, as those of a convolution over time do.
    pub a_stride: usize,
    pub m: usize,
    pub out: &'a mut [f32],
    pub out_stride: usize,
    /// Added before the activation; strides as `out`.
    pub residual: Option<&'a [f32]>,
    pub activation: Activation,
}

impl<'a> Product<'a> {
    /// Rows that lie one after the other, in and out: `a` is `[m, k]`, `out` `[m, n]`.
    pub fn rows(weights: &Packed, a: &'a [f32], out: &'a mut [f32]) -> Self {
        Self {
            a,
            a_stride: weights.k,
            m: a.len() / weights.k.max(1),
            out,
            out_stride: weights.n,
            residual: None,
            activation: Activation::None,
        }
    }
}

/// Computes one product on this thread.
///
/// # Panics
/// When a slice is too short for its stride and `m`.
pub fn gemm(level: Level, weights: &Packed, product: Product<'_>) {
    let Product { a, a_stride, m, out, out_stride, residual, activation } = product;
    if m == 0 || weights.n == 0 {
        return;
    }
    // An end beyond all memory is beyond every slice.
    let reach = |stride: usize, width: usize| (m - 1).saturating_mul(stride).saturating_add(width);
    assert!(a.len() >= reach(a_stride, weights.k), "a is [m, k]");
    let last = reach(out_stride, weights.n);
    assert!(out_stride >= weights.n && out.len() >= last, "out is [m, n]");
    assert!(residual.is_none_or(|residual| residual.len() >= last), "the residual is [m, n]");
    let strides = Strides::matrix(out_stride);
    let pass = Walk {
        panels: weights.panels(),
        input: a.as_ptr(),
        from: Strides::matrix(a_stride),
        runs: &[Run { offset: 0, count: weights.k }],
        m,
        width: m,
        to: Target { data: out.as_mut_ptr(), strides, panel: WIDTH, whole: false },
        residual: residual.map(|add| Addend { data: add.as_ptr(), strides, panel: WIDTH }),
        activation,
    };
    // SAFETY: the pointers reach as far as was asserted.
    unsafe { walk(level, &pass) };
}
