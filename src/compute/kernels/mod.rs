//! Hand-written kernels for the CPU: the only `unsafe` arithmetic there is.

#![expect(
    clippy::inline_always,
    reason = "a kernel is compiled once per level, inside a function with its features"
)]

mod activation;
mod amx;
mod attention;
mod bottleneck;
mod buffer;
mod convolve;
mod depthwise;
mod digits;
mod frame;
mod gemm;
mod gradients;
mod lanes;
mod level;
mod lines;
mod narrow;
mod pool;
mod recurrence;
mod recurrent;
mod rows;
mod step;
mod team;
mod tile;

pub use crate::domain::CpuLevel as Level;
pub use activation::Activation;
pub use attention::{Attention, KeyValues, Scratch, attend};
pub use bottleneck::{Bottleneck, Picture, Spare};
pub use buffer::Buffer;
pub use convolve::{Band, Convolution, Filters, Geometry};
pub use depthwise::Depthwise;
pub use frame::Frame;
pub use gemm::{Packed, Product, gemm};
pub use gradients::add_rows;
pub use lanes::WIDTH as LANES;
pub use level::{LevelError, best, is_available, resolve};
pub use lines::{Lined, Places, Start, lined};
pub use narrow::Narrow;
pub use pool::{Pool, Pooling, mean};
pub use recurrence::{gru_back, gru_keep, lstm_back, lstm_keep};
pub use recurrent::{gru_row, lstm_row};
pub use rows::{Norm, activate, exp_row, softmax_row};
pub use step::{Step, recurrent_step};
pub use team::Team;

/// Calls a kernel `f::<V, ROWS, PAIR>(argument)` compiled for the level: 16 lanes `V`, and the tile of
/// rows and panels of 16 columns that fits its registers. A level that this processor does not have is
/// portable.
macro_rules! dispatch {
    ($level:expr, $f:ident($argument:ident: $type:ty)) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512dq,avx2,fma")]
        unsafe fn avx512(argument: $type) {
            unsafe { $f::<$crate::compute::kernels::lanes::Avx512, 12, 2>(argument) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn avx2(argument: $type) {
            unsafe { $f::<$crate::compute::kernels::lanes::Avx2, 6, 1>(argument) }
        }
        match $level {
            #[cfg(target_arch = "x86_64")]
            $crate::compute::kernels::Level::Avx512 | $crate::compute::kernels::Level::Amx
                if $crate::compute::kernels::is_available(
                    $crate::compute::kernels::Level::Avx512,
                ) =>
            {
                avx512($argument)
            }
            #[cfg(target_arch = "x86_64")]
            level @ $crate::compute::kernels::Level::Avx2
                if $crate::compute::kernels::is_available(level) =>
            {
                avx2($argument)
            }
            #[cfg(target_arch = "aarch64")]
            $crate::compute::kernels::Level::Neon => {
                $f::<$crate::compute::kernels::lanes::Neon, 6, 1>($argument)
            }
            _ => $f::<$crate::compute::kernels::lanes::Portable, 4, 1>($argument),
        }
    }};
}
use dispatch;

#[cfg(test)]
mod tests;
