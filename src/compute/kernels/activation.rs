//! Element-wise functions on sixteen floats.

use super::lanes::Lanes;

/// What is done to a value before it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    None,
    Relu,
    Relu6,
    /// x · σ(x)
    Silu,
    /// x · min(max(x + 3, 0), 6) / 6
    HardSwish,
    /// x · Φ(x), with the error function
    Gelu,
    Tanh,
    Sigmoid,
}

impl Activation {
    /// # Safety
    /// As [`Lanes`].
    #[inline(always)]
    pub(super) unsafe fn apply<V: Lanes>(self, x: V) -> V {
        // SAFETY: the caller's.
        unsafe {
            match self {
                Self::None => x,
                Self::Relu => x.max(V::splat(0.0)),
                Self::Relu6 => x.max(V::splat(0.0)).min(V::splat(6.0)),
                Self::Silu => x.mul(sigmoid(x)),
                Self::HardSwish => {
                    let gate = x.add(V::splat(3.0)).max(V::splat(0.0)).min(V::splat(6.0));
                    x.mul(gate).mul(V::splat(1.0 / 6.0))
                }
                Self::Gelu => gelu(x),
                Self::Tanh => tanh(x),
                Self::Sigmoid => sigmoid(x),
            }
        }
    }
}

/// Calls a macro of one argument, the activation, with each of them as a constant.
macro_rules! each_activation {
    ($self:expr, $with:ident) => {
        match $self {
            Activation::None => {}
            Activation::Relu => $with!(Activation::Relu),
            Activation::Relu6 => $with!(Activation::Relu6),
            Activation::Silu => $with!(Activation::Silu),
            Activation::HardSwish => $with!(Activation::HardSwish),
            Activation::Gelu => $with!(Activation::Gelu),
            Activation::Tanh => $with!(Activation::Tanh),
            Activation::Sigmoid => $with!(Activation::Sigmoid),
        }
    };
}

impl Activation {
    /// The choice is made once for all values.
    ///
    /// # Safety
    /// As [`Lanes`].
    #[inline(always)]
    pub(super) unsafe fn apply_all<V: Lanes, const R: usize, const N: usize>(
        self,
        mut values: [[V; N]; R],
    ) -> [[V; N]; R] {
        macro_rules! all {
            ($activation:expr) => {
                for row in &mut values {
                    for value in row {
                        // SAFETY: the caller's.
                        *value = unsafe { $activation.apply(*value) };
                    }
                }
            };
        }
        each_activation!(self, all);
        values
    }
}

/// e^x to about 2 units in the last place. Below −87 it stays at e^−87, which is next to nothing, above 88
/// at the largest power; NaN stays NaN.
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
pub unsafe fn exp<V: Lanes>(x: V) -> V {
    // SAFETY: the caller's.
    unsafe {
        // Where one of the two is no number the second is taken: what is no number stays none.
        let x = V::splat(88.0).min(V::splat(-87.0).max(x));
        let whole = x.mul(V::splat(std::f32::consts::LOG2_E)).round();
        // ln 2 in two parts, so that the rest keeps its digits (Cody and Waite).
        let rest = whole.fma(V::splat(-0.693_359_4), x);
        let rest = whole.fma(V::splat(2.121_944_3e-4), rest);
        // Taylor's polynomial is enough within ±ln 2 / 2.
        let mut sum = V::splat(1.0 / 5040.0);
        for term in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            sum = sum.fma(rest, V::splat(term));
        }
        sum.times_exp2(whole)
    }
}

/// 1 / (1 + 2^t), where t is −x · log₂ e: to 1e-7. 2^t is 2^⌊t⌋ times a polynomial of what is left, fitted between 0 and
/// 1 by least squares whose weights follow the largest error: to 8e-8 of the result. NaN stays NaN.
#[inline(always)]
unsafe fn sigmoid<V: Lanes>(x: V) -> V {
    const POWER: [f32; 6] =
        [0.999_999_94, 0.693_152_7, 0.240_155_73, 0.055_821_21, 8.994_675e-3, 1.875_569_2e-3];
    // SAFETY: the caller's.
    unsafe {
        // Where one of the two is no number the second is taken: what is no number stays none.
        let t = V::splat(126.0).min(x.mul(V::splat(-std::f32::consts::LOG2_E)));
        let rest = t.fraction();
        let mut sum = V::splat(POWER[5]);
        for term in (0..5).rev() {
            sum = sum.fma(rest, V::splat(POWER[term]));
        }
        V::splat(1.0).add(sum.times_exp2(t)).reciprocal()
    }
}

#[inline(always)]
unsafe fn tanh<V: Lanes>(x: V) -> V {
    // SAFETY: the caller's.
    unsafe { sigmoid(x.add(x)).fma(V::splat(2.0), V::splat(-1.0)) }
}

/// max(x, 0) − |x| · Φ(−|x|), with Φ the normal distribution's function. (½ − Φ(−|x|)) / |x| is a quotient of two
/// polynomials of x² here, fitted between −5.2 and 5.2 by least squares whose weights follow the largest error: to
/// 7e-8 of the result. Rounding of what is left of ½ makes that up to 1e-6, two units of the last place there. Below
/// −5.2 the result stays at what it is there, less than 8e-7 from 0.
#[inline(always)]
unsafe fn gelu<V: Lanes>(x: V) -> V {
    const ABOVE: [f32; 6] =
        [0.398_942_14, 0.033_355_843, 4.657_464_6e-3, 1.651_366_3e-4, 6.462_340_5e-6, 2.403_95e-8];
    const BELOW: [f32; 6] =
        [1.0, 0.250_276_03, 0.028_389_182, 1.863_314_1e-3, 7.316_073e-5, 1.242_980_7e-6];
    // SAFETY: the caller's.
    unsafe {
        let zero = V::splat(0.0);
        // Where one of the two is no number the second is taken: what is no number stays none.
        let size = V::splat(5.2).min(x.max(zero.sub(x)));
        let square = size.mul(size);
        let (mut above, mut below) = (V::splat(ABOVE[5]), V::splat(BELOW[5]));
        for term in (0..5).rev() {
            above = above.fma(square, V::splat(ABOVE[term]));
            below = below.fma(square, V::splat(BELOW[term]));
        }
        let tail = V::splat(0.5).sub(size.mul(above).div(below));
        x.max(zero).sub(size.mul(tail))
    }
}
