//! Sixteen floats in one register of AVX-512 or in two of AVX2.

use std::arch::x86_64::{
    __m256, __m256i, __m512, __mmask16, _MM_HINT_T0, _mm_prefetch, _mm256_add_epi32, _mm256_add_ps,
    _mm256_castsi256_ps, _mm256_cvtps_epi32, _mm256_div_ps, _mm256_floor_ps, _mm256_fmadd_ps,
    _mm256_loadu_ps, _mm256_loadu_si256, _mm256_maskload_ps, _mm256_maskstore_ps, _mm256_max_ps,
    _mm256_min_ps, _mm256_mul_ps, _mm256_round_ps, _mm256_set1_epi32, _mm256_set1_ps,
    _mm256_slli_epi32, _mm256_storeu_ps, _mm256_sub_ps, _mm512_add_ps, _mm512_div_ps,
    _mm512_fmadd_ps, _mm512_fnmadd_ps, _mm512_loadu_ps, _mm512_mask_storeu_ps,
    _mm512_maskz_loadu_ps, _mm512_max_ps, _mm512_min_ps, _mm512_mul_ps, _mm512_rcp14_ps,
    _mm512_reduce_ps, _mm512_roundscale_ps, _mm512_scalef_ps, _mm512_set1_ps, _mm512_storeu_ps,
    _mm512_sub_ps,
};

use super::{FAR_BELOW, Lanes, WIDTH};

#[derive(Clone, Copy)]
pub struct Avx512(pub __m512);

#[inline(always)]
fn mask(count: usize) -> __mmask16 {
    // `count` is at most 16.
    #[expect(clippy::cast_possible_truncation, reason = "16 bits are meant")]
    {
        ((1_u32 << count.min(WIDTH)) - 1) as __mmask16
    }
}

// SAFETY: each method is some AVX-512F or DQ instructions; the trait's contract covers them.
unsafe impl Lanes for Avx512 {
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self(unsafe { _mm512_set1_ps(value) })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(unsafe { _mm512_loadu_ps(from) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm512_storeu_ps(to, self.0) };
    }
    #[inline(always)]
    unsafe fn load_fewer(from: *const f32, count: usize) -> Self {
        Self(unsafe { _mm512_maskz_loadu_ps(mask(count), from) })
    }
    #[inline(always)]
    unsafe fn store_fewer(self, to: *mut f32, count: usize) {
        unsafe { _mm512_mask_storeu_ps(to, mask(count), self.0) };
    }
    #[inline(always)]
    unsafe fn fma(self, by: Self, plus: Self) -> Self {
        Self(unsafe { _mm512_fmadd_ps(self.0, by.0, plus.0) })
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(unsafe { _mm512_add_ps(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(unsafe { _mm512_sub_ps(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(unsafe { _mm512_mul_ps(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        Self(unsafe { _mm512_div_ps(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        Self(unsafe { _mm512_min_ps(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        Self(unsafe { _mm512_max_ps(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        Self(unsafe { _mm512_roundscale_ps::<0x08>(self.0) })
    }
    #[inline(always)]
    unsafe fn fraction(self) -> Self {
        // Less its floor: no digits after the point are kept.
        Self(unsafe { _mm512_reduce_ps::<0x09>(self.0) })
    }
    #[inline(always)]
    unsafe fn times_exp2(self, power: Self) -> Self {
        Self(unsafe { _mm512_scalef_ps(self.0, power.0) })
    }
    /// Fourteen bits from a table, and twice as many by one of Newton's steps: the gates of a row take a twentieth less than
    /// with a division.
    #[inline(always)]
    unsafe fn reciprocal(self) -> Self {
        unsafe {
            let near = _mm512_rcp14_ps(self.0);
            let missing = _mm512_fnmadd_ps(self.0, near, _mm512_set1_ps(1.0));
            Self(_mm512_fmadd_ps(near, missing, near))
        }
    }
    #[inline(always)]
    unsafe fn prefetch(from: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) };
    }
}

#[derive(Clone, Copy)]
pub struct Avx2(__m256, __m256);

/// All bits set in the first `count` of 16 words, as two halves.
#[inline(always)]
unsafe fn masks(count: usize) -> (__m256i, __m256i) {
    const BITS: [i32; 32] = {
        let mut bits = [0; 32];
        let mut i = 0;
        while i < 16 {
            bits[i] = -1;
            i += 1;
        }
        bits
    };
    let from = 16 - count.min(WIDTH);
    // SAFETY: 16 words from `from` lie within the 32.
    unsafe {
        let start = BITS.as_ptr().add(from);
        (_mm256_loadu_si256(start.cast()), _mm256_loadu_si256(start.add(8).cast()))
    }
}

// SAFETY: each method is a few AVX2 and FMA instructions; the trait's contract covers them.
unsafe impl Lanes for Avx2 {
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        unsafe { Self(_mm256_set1_ps(value), _mm256_set1_ps(value)) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { Self(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe {
            _mm256_storeu_ps(to, self.0);
            _mm256_storeu_ps(to.add(8), self.1);
        }
    }
    #[inline(always)]
    unsafe fn load_fewer(from: *const f32, count: usize) -> Self {
        unsafe {
            let (low, high) = masks(count);
            let second = from.wrapping_add(8);
            Self(_mm256_maskload_ps(from, low), _mm256_maskload_ps(second, high))
        }
    }
    #[inline(always)]
    unsafe fn store_fewer(self, to: *mut f32, count: usize) {
        unsafe {
            let (low, high) = masks(count);
            _mm256_maskstore_ps(to, low, self.0);
            _mm256_maskstore_ps(to.wrapping_add(8), high, self.1);
        }
    }
    #[inline(always)]
    unsafe fn fma(self, by: Self, plus: Self) -> Self {
        unsafe {
            Self(_mm256_fmadd_ps(self.0, by.0, plus.0), _mm256_fmadd_ps(self.1, by.1, plus.1))
        }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { Self(_mm256_add_ps(self.0, other.0), _mm256_add_ps(self.1, other.1)) }
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        unsafe { Self(_mm256_sub_ps(self.0, other.0), _mm256_sub_ps(self.1, other.1)) }
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        unsafe { Self(_mm256_mul_ps(self.0, other.0), _mm256_mul_ps(self.1, other.1)) }
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        unsafe { Self(_mm256_div_ps(self.0, other.0), _mm256_div_ps(self.1, other.1)) }
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        unsafe { Self(_mm256_min_ps(self.0, other.0), _mm256_min_ps(self.1, other.1)) }
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        unsafe { Self(_mm256_max_ps(self.0, other.0), _mm256_max_ps(self.1, other.1)) }
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        unsafe { Self(_mm256_round_ps::<0x08>(self.0), _mm256_round_ps::<0x08>(self.1)) }
    }
    #[inline(always)]
    unsafe fn prefetch(from: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) };
    }
    #[inline(always)]
    unsafe fn fraction(self) -> Self {
        unsafe {
            let near = Self::splat(FAR_BELOW).max(self);
            near.sub(Self(_mm256_floor_ps(near.0), _mm256_floor_ps(near.1)))
        }
    }
    #[inline(always)]
    unsafe fn times_exp2(self, power: Self) -> Self {
        unsafe {
            let one = |x| {
                let whole = _mm256_cvtps_epi32(_mm256_floor_ps(x));
                let biased = _mm256_add_epi32(whole, _mm256_set1_epi32(127));
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
            };
            let power = Self::splat(-126.0).max(power);
            self.mul(Self(one(power.0), one(power.1)))
        }
    }
}
