//! Sixteen floats side by side, in the registers of each [`Level`](super::Level). A kernel is written
//! once, generic over [`Lanes`], and compiled once per level inside a function with that level's
//! features: see [`dispatch`](super::dispatch).

#[cfg(target_arch = "aarch64")]
mod arm;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "aarch64")]
pub use arm::Neon;
pub use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

/// Sixteen floats.
pub const WIDTH: usize = 16;

/// Below this the fraction of a float may be 0: 2 to its power is nothing.
const FAR_BELOW: f32 = -1024.0;

/// # Safety
/// Every method may use the instructions of its level: the caller must run where they are available,
/// inside a function that enables them. Pointers must be valid for the floats that are named.
pub unsafe trait Lanes: Copy {
    unsafe fn splat(value: f32) -> Self;
    /// From 16 floats.
    unsafe fn load(from: *const f32) -> Self;
    /// To 16 floats.
    unsafe fn store(self, to: *mut f32);
    /// From the first `count` of 16 floats, less than all; the others are 0 and are not touched.
    unsafe fn load_fewer(from: *const f32, count: usize) -> Self;
    /// To the first `count` of 16 floats, less than all; the others are not touched.
    unsafe fn store_fewer(self, to: *mut f32, count: usize);
    /// `self · by + plus`, rounded once where the level can.
    unsafe fn fma(self, by: Self, plus: Self) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    unsafe fn min(self, other: Self) -> Self;
    unsafe fn max(self, other: Self) -> Self;
    /// To the nearest integer, ties to even.
    unsafe fn round(self) -> Self;
    /// What it is more than the next whole number below; far below 0, where 2 to the power of it is nothing, 0 will do.
    unsafe fn fraction(self) -> Self;
    /// Times 2 to the power of the next whole number below `power`, which is at most 127; below −126 it is next to nothing.
    unsafe fn times_exp2(self, power: Self) -> Self;
    /// 1 / self, to one unit in the last place, of what is at least 1.
    #[inline(always)]
    unsafe fn reciprocal(self) -> Self {
        // SAFETY: the caller's.
        unsafe { Self::splat(1.0).div(self) }
    }
    /// As [`Lanes::load`] or [`Lanes::load_fewer`], which takes many times longer with some processors.
    #[inline(always)]
    unsafe fn load_part(from: *const f32, count: usize) -> Self {
        // SAFETY: the caller's.
        unsafe { if count >= WIDTH { Self::load(from) } else { Self::load_fewer(from, count) } }
    }
    /// As [`Lanes::store`] or [`Lanes::store_fewer`].
    #[inline(always)]
    unsafe fn store_part(self, to: *mut f32, count: usize) {
        // SAFETY: the caller's.
        unsafe { if count >= WIDTH { self.store(to) } else { self.store_fewer(to, count) } }
    }
    /// Says that the floats there will be read soon. Any address will do.
    unsafe fn prefetch(_: *const f32) {}
    /// The sum of the 16, in one fixed order at every level.
    unsafe fn sum(self) -> f32 {
        let mut all = [0.0; WIDTH];
        // SAFETY: the array holds 16 floats.
        unsafe { self.store(all.as_mut_ptr()) };
        let mut half = WIDTH / 2;
        while half > 0 {
            for i in 0..half {
                all[i] += all[i + half];
            }
            half /= 2;
        }
        all[0]
    }
}
