//! The one integration test binary. `cfg(test)` on each module tells clippy that its helpers are tests.

#[cfg(test)]
mod architecture;
