//! Bytes to numbers: pictures and sound. Knows no tensor of candle.
