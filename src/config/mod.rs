//! Settings: what was typed, in three places, becomes one checked value.

mod settings;
mod threads;

pub use settings::{
    DrainSettings, EngineSettings, HttpSettings, LogFormat, ModelSettings, Settings,
};
pub use threads::set_operation_threads;

/// Version and, where the build knows it, source revision of this program.
#[must_use]
pub fn revision() -> String {
    match option_env!("MAAS_REVISION") {
        Some(revision) => format!("maas {} ({revision})", env!("CARGO_PKG_VERSION")),
        None => format!("maas {}", env!("CARGO_PKG_VERSION")),
    }
}
