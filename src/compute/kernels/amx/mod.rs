//! Matrix products in tiles of bytes (Intel AMX): sixteen rows by sixteen columns, 64 values deep, in 16 cycles; two
//! multipliers of sixteen floats take 512 for as many products. Floats are split into digits of a byte, six products of
//! which make one of floats, and come out as floats.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod gates;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod matrix;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod products;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod split;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod tiles;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(super) use gates::step;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(super) use matrix::part;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(super) use split::value;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(super) use tiles::{is_available, split};

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod elsewhere;
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub(super) use elsewhere::{is_available, part, split, step, value};
