//! One tensor at rest: its type, its shape and its bytes, which agree with each other.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

/// Dimensions that a tensor may have.
pub const RANK_MAX: usize = 8;

/// What a tensor's elements are. Only F32, F16 and BF16 are weights here; the others are read so that a
/// tensor of theirs can be named, and left out or refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    C128,
    C64,
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U8,
    Bool,
}

impl Dtype {
    /// Bytes of one element.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::C128 => 16,
            Self::C64 | Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::BF16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// Whether a network can be made of it.
    #[must_use]
    pub fn is_weight(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::BF16)
    }

    /// Whether it counts or indexes.
    #[must_use]
    pub fn is_integer(self) -> bool {
        matches!(self, Self::I64 | Self::I32 | Self::I16 | Self::I8 | Self::U8)
    }
}

/// A tensor: row-major, little-endian.
#[derive(Clone, PartialEq, Eq)]
pub struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Bytes,
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.dtype, self.shape)
    }
}

impl Tensor {
    /// `None` when the shape is not the data's: too many dimensions, a product that overflows, or another
    /// number of bytes.
    #[must_use]
    pub fn new(dtype: Dtype, shape: Vec<usize>, data: Bytes) -> Option<Self> {
        (byte_count(dtype, &shape)? == data.len()).then_some(Self { dtype, shape, data })
    }

    #[must_use]
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    #[must_use]
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// Some rows of the first dimension, which share the bytes; `None` where there are not so many.
    #[must_use]
    pub fn rows(&self, rows: Range<usize>) -> Option<Self> {
        let (&count, rest) = self.shape.split_first()?;
        if rows.start > rows.end || rows.end > count {
            return None;
        }
        // Within the bytes, since the whole shape is.
        let row = byte_count(self.dtype, rest)?;
        let data = self.data.slice(rows.start * row..rows.end * row);
        let shape = std::iter::once(rows.len()).chain(rest.iter().copied()).collect();
        Self::new(self.dtype, shape, data)
    }

    /// The index of the first element that is infinite or not a number; `None` where all are finite.
    #[must_use]
    pub fn not_finite(&self) -> Option<usize> {
        // IEEE 754: such a number has all bits of its exponent set.
        let full =
            |mask: u16| move |word: &[u8]| u16::from_le_bytes([word[0], word[1]]) & mask == mask;
        let data = &self.data;
        match self.dtype {
            Dtype::F32 => data.chunks_exact(4).map(|word| &word[2..]).position(full(0x7f80)),
            Dtype::F64 => data.chunks_exact(8).map(|word| &word[6..]).position(full(0x7ff0)),
            Dtype::BF16 => data.chunks_exact(2).position(full(0x7f80)),
            Dtype::F16 => data.chunks_exact(2).position(full(0x7c00)),
            _ => None,
        }
    }
}

/// Bytes that a tensor has. `None` where it has too many dimensions, or their product overflows.
pub fn byte_count(dtype: Dtype, shape: &[usize]) -> Option<usize> {
    if shape.len() > RANK_MAX {
        return None;
    }
    shape.iter().try_fold(dtype.size(), |product, &size| product.checked_mul(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(dtype: Dtype, shape: &[usize], data: Vec<u8>) -> Option<Tensor> {
        Tensor::new(dtype, shape.to_vec(), data.into())
    }

    #[test]
    fn a_shape_must_be_that_of_the_bytes() {
        assert!(tensor(Dtype::F16, &[2, 3], vec![0; 12]).is_some());
        assert!(tensor(Dtype::F64, &[], vec![0; 8]).is_some());
        assert!(tensor(Dtype::F32, &[0, 7], vec![]).is_some());
        for (shape, bytes) in
            [(&[2, 3][..], 11), (&[2, 3], 13), (&[usize::MAX, 2], 0), (&[1 << 32, 1 << 31], 0)]
        {
            assert!(tensor(Dtype::F16, shape, vec![0; bytes]).is_none(), "{shape:?}");
        }
        assert!(tensor(Dtype::U8, &[1; 9], vec![0]).is_none());
    }

    #[test]
    fn rows_are_a_part_of_the_bytes() {
        let whole = tensor(Dtype::F16, &[3, 2], (0..12).collect()).unwrap();
        let last = whole.rows(1..3).unwrap();
        assert_eq!(
            (last.shape(), &last.data()[..]),
            (&[2, 2][..], &[4, 5, 6, 7, 8, 9, 10, 11][..])
        );
        assert!(whole.rows(2..4).is_none());
        assert!(tensor(Dtype::F16, &[], vec![0; 2]).unwrap().rows(0..1).is_none());
    }

    #[test]
    fn the_first_element_that_is_not_finite_is_found_in_each_type() {
        let f32s: Vec<u8> =
            [1.0, f32::MAX, f32::NEG_INFINITY].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(tensor(Dtype::F32, &[3], f32s.clone()).unwrap().not_finite(), Some(2));
        assert_eq!(tensor(Dtype::F32, &[2], f32s[..8].to_vec()).unwrap().not_finite(), None);
        let f64s: Vec<u8> = [f64::MAX, f64::NAN].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(tensor(Dtype::F64, &[2], f64s).unwrap().not_finite(), Some(1));
        let words = |words: [u16; 2]| words.iter().flat_map(|w| w.to_le_bytes()).collect();
        assert_eq!(
            tensor(Dtype::F16, &[2], words([0x7bff, 0xfc01])).unwrap().not_finite(),
            Some(1)
        );
        assert_eq!(
            tensor(Dtype::BF16, &[2], words([0x7f7f, 0x7f80])).unwrap().not_finite(),
            Some(1)
        );
        assert_eq!(tensor(Dtype::I16, &[2], words([0x7fff, 0x7fff])).unwrap().not_finite(), None);
    }
}
