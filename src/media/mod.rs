//! Bytes to numbers: pictures and sound. Knows no tensor of candle.

pub mod picture;
pub mod preprocessing;
