//! Sixteen floats in four registers of NEON.

use std::arch::aarch64::{
    float32x4_t, vaddq_f32, vaddq_s32, vcvtmq_s32_f32, vdivq_f32, vdupq_n_f32, vdupq_n_s32,
    vfmaq_f32, vld1q_f32, vmaxq_f32, vminq_f32, vmulq_f32, vreinterpretq_f32_s32, vrndmq_f32,
    vrndnq_f32, vshlq_n_s32, vst1q_f32, vsubq_f32,
};

use super::{FAR_BELOW, Lanes, WIDTH};

#[derive(Clone, Copy)]
pub struct Neon([float32x4_t; 4]);

impl Neon {
    #[inline(always)]
    fn each(f: impl FnMut(usize) -> float32x4_t) -> Self {
        Self(std::array::from_fn(f))
    }
}

// SAFETY: every 64-bit Arm processor has NEON; the trait's contract covers the pointers.
unsafe impl Lanes for Neon {
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self::each(|_| unsafe { vdupq_n_f32(value) })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self::each(|i| unsafe { vld1q_f32(from.add(4 * i)) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        for (i, part) in self.0.into_iter().enumerate() {
            unsafe { vst1q_f32(to.add(4 * i), part) };
        }
    }
    #[inline(always)]
    unsafe fn load_fewer(from: *const f32, count: usize) -> Self {
        let mut all = [0.0; WIDTH];
        unsafe {
            std::ptr::copy_nonoverlapping(from, all.as_mut_ptr(), count.min(WIDTH));
            Self::load(all.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store_fewer(self, to: *mut f32, count: usize) {
        let mut all = [0.0; WIDTH];
        unsafe {
            self.store(all.as_mut_ptr());
            std::ptr::copy_nonoverlapping(all.as_ptr(), to, count.min(WIDTH));
        }
    }
    #[inline(always)]
    unsafe fn fma(self, by: Self, plus: Self) -> Self {
        Self::each(|i| unsafe { vfmaq_f32(plus.0[i], self.0[i], by.0[i]) })
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self::each(|i| unsafe { vaddq_f32(self.0[i], other.0[i]) })
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self::each(|i| unsafe { vsubq_f32(self.0[i], other.0[i]) })
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self::each(|i| unsafe { vmulq_f32(self.0[i], other.0[i]) })
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        Self::each(|i| unsafe { vdivq_f32(self.0[i], other.0[i]) })
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        Self::each(|i| unsafe { vminq_f32(self.0[i], other.0[i]) })
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        Self::each(|i| unsafe { vmaxq_f32(self.0[i], other.0[i]) })
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        Self::each(|i| unsafe { vrndnq_f32(self.0[i]) })
    }
    #[inline(always)]
    unsafe fn fraction(self) -> Self {
        Self::each(|i| unsafe {
            let near = vmaxq_f32(self.0[i], vdupq_n_f32(FAR_BELOW));
            vsubq_f32(near, vrndmq_f32(near))
        })
    }
    #[inline(always)]
    unsafe fn times_exp2(self, power: Self) -> Self {
        Self::each(|i| unsafe {
            let whole = vcvtmq_s32_f32(vmaxq_f32(power.0[i], vdupq_n_f32(-126.0)));
            let biased = vaddq_s32(whole, vdupq_n_s32(127));
            vmulq_f32(self.0[i], vreinterpretq_f32_s32(vshlq_n_s32::<23>(biased)))
        })
    }
}
