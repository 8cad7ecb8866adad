//! Bytes to numbers: pictures and sound. Knows no tensor of candle.

pub mod audio;
pub mod mel;
pub mod picture;
pub mod preprocessing;
mod scaling;
pub mod windows;
