//! Little-endian numbers of every type as the 32-bit floats that networks read.

use half::{bf16, f16};

use crate::domain::Datatype;

/// The values of `bytes`, of a type whose elements have a fixed width. `None` when one is not a number that a
/// 32-bit float can stand for, or a `BOOL` that is neither 0 nor 1.
///
/// Whole numbers beyond 2^24 and doubles are rounded to the nearest float.
pub fn floats(datatype: Datatype, bytes: &[u8]) -> Option<Vec<f32>> {
    match datatype {
        Datatype::Fp32 => Some(read(bytes, f32::from_le_bytes)),
        Datatype::Fp16 => Some(read(bytes, |value| f16::from_le_bytes(value).to_f32())),
        Datatype::Bf16 => Some(read(bytes, |value| bf16::from_le_bytes(value).to_f32())),
        Datatype::Fp64 => {
            let (doubles, _) = bytes.as_chunks();
            doubles.iter().map(|&value| narrowed(f64::from_le_bytes(value))).collect()
        }
        Datatype::Bool => bytes.iter().map(|&byte| (byte < 2).then_some(f32::from(byte))).collect(),
        Datatype::Uint8 => Some(bytes.iter().copied().map(f32::from).collect()),
        Datatype::Int8 => Some(read(bytes, |value| f32::from(i8::from_le_bytes(value)))),
        Datatype::Uint16 => Some(read(bytes, |value| f32::from(u16::from_le_bytes(value)))),
        Datatype::Int16 => Some(read(bytes, |value| f32::from(i16::from_le_bytes(value)))),
        Datatype::Uint32 => Some(read(bytes, |value| rounded(u32::from_le_bytes(value)))),
        Datatype::Int32 => Some(read(bytes, |value| rounded(i32::from_le_bytes(value)))),
        Datatype::Uint64 => Some(read(bytes, |value| rounded(u64::from_le_bytes(value)))),
        Datatype::Int64 => Some(read(bytes, |value| rounded(i64::from_le_bytes(value)))),
        Datatype::Bytes => None,
    }
}

fn read<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&chunk| value(chunk)).collect()
}

/// A double as a float; `None` when it is finite and the float is not.
#[expect(clippy::cast_possible_truncation, reason = "rounded to the nearest, and checked")]
pub fn narrowed(double: f64) -> Option<f32> {
    let float = double as f32;
    (float.is_finite() || !double.is_finite()).then_some(float)
}

/// A whole number as the nearest float.
pub fn rounded<T: Into<i128>>(number: T) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "rounded to the nearest")]
    let float = number.into() as f32;
    float
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_read_by_its_value() {
        for (datatype, bytes, values) in [
            (Datatype::Bool, &[0_u8, 1][..], &[0.0_f32, 1.0][..]),
            (Datatype::Uint8, &[0, 255], &[0.0, 255.0]),
            (Datatype::Int8, &[0x80, 127], &[-128.0, 127.0]),
            (Datatype::Uint16, &[0xff, 0xff], &[65535.0]),
            (Datatype::Int16, &[0, 0x80], &[-32768.0]),
            (Datatype::Uint32, &[0xff; 4], &[4_294_967_296.0]),
            (Datatype::Int32, &[0xff; 4], &[-1.0]),
            (Datatype::Uint64, &[0xff; 8], &[18_446_744_073_709_551_616.0]),
            (Datatype::Int64, &[0xfe, 255, 255, 255, 255, 255, 255, 255], &[-2.0]),
            (Datatype::Fp16, &[0, 0x3c], &[1.0]),
            (Datatype::Bf16, &[0x80, 0x3f], &[1.0]),
            (Datatype::Fp32, &[0, 0, 0x20, 0x40], &[2.5]),
            (Datatype::Fp64, &[0, 0, 0, 0, 0, 0, 4, 0x40], &[2.5]),
        ] {
            assert_eq!(floats(datatype, bytes).as_deref(), Some(values), "{datatype:?}");
        }
    }

    #[test]
    fn what_no_float_stands_for_is_not_read() {
        assert_eq!(floats(Datatype::Bool, &[2]), None);
        assert_eq!(floats(Datatype::Fp64, &1e300_f64.to_le_bytes()), None);
        assert_eq!(floats(Datatype::Bytes, &[]), None);
        // What is no number is for the model to judge, as with FP32.
        assert!(floats(Datatype::Fp64, &f64::NAN.to_le_bytes()).unwrap()[0].is_nan());
    }
}
