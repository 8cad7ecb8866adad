//! Sixteen floats in plain Rust.

use super::{FAR_BELOW, Lanes, WIDTH};

/// Plain Rust, which the compiler may turn into whatever the processor has.
#[derive(Clone, Copy)]
pub struct Portable([f32; WIDTH]);

impl Portable {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }

    /// Without the instruction `f32::floor` is a call into the C library.
    #[inline(always)]
    fn floor(self) -> Self {
        // SAFETY: none is needed.
        let near = unsafe { self.round() };
        self.zip(near, |x, near| if near > x { near - 1.0 } else { near })
    }
}

// SAFETY: plain Rust needs no feature.
unsafe impl Lanes for Portable {
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; WIDTH])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(unsafe { from.cast::<[f32; WIDTH]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { to.cast::<[f32; WIDTH]>().write_unaligned(self.0) };
    }
    #[inline(always)]
    unsafe fn load_fewer(from: *const f32, count: usize) -> Self {
        let mut all = [0.0; WIDTH];
        unsafe { std::ptr::copy_nonoverlapping(from, all.as_mut_ptr(), count.min(WIDTH)) };
        Self(all)
    }
    #[inline(always)]
    unsafe fn store_fewer(self, to: *mut f32, count: usize) {
        unsafe { std::ptr::copy_nonoverlapping(self.0.as_ptr(), to, count.min(WIDTH)) };
    }
    #[inline(always)]
    unsafe fn fma(self, by: Self, plus: Self) -> Self {
        // Without the instruction `mul_add` is a call into the C library.
        Self(std::array::from_fn(|i| self.0[i] * by.0[i] + plus.0[i]))
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        self.zip(other, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        self.zip(other, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        self.zip(other, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        // Adding and taking away 1.5 · 2^23 leaves no room for a fraction.
        const BIG: f32 = 12_582_912.0;
        Self(self.0.map(|x| (x + BIG) - BIG))
    }
    #[inline(always)]
    unsafe fn fraction(self) -> Self {
        // SAFETY: none is needed.
        unsafe {
            let near = Self::splat(FAR_BELOW).max(self);
            near.sub(near.floor())
        }
    }
    #[inline(always)]
    unsafe fn times_exp2(self, power: Self) -> Self {
        // SAFETY: none is needed.
        let whole = unsafe { Self::splat(-126.0).max(power).floor() };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "−126 to 127")]
        let power = whole.0.map(|x| f32::from_bits(((x as i32 + 127) << 23) as u32));
        self.zip(Self(power), |a, b| a * b)
    }
}
