//! Settings: what was typed, in three places, becomes one checked value.

mod fault;
mod file;
mod load;
mod read;
mod settings;
mod show;
mod table;
mod threads;
mod value;

pub use fault::{Fault, Faults};
pub use file::File;
pub use load::load;
pub use read::{Overrides, ReadError, read};
pub use settings::{
    Compat, DrainSettings, EngineSettings, HttpSettings, LogFormat, MetricsCompat, Micros,
    ModelSettings, Settings,
};
pub use show::{defaults, show};
pub use table::{KEYS, Key, MODEL_KEYS};
pub use threads::set_operation_threads;
pub use value::Form;

/// Version and, where the build knows it, source revision of this program.
#[must_use]
pub fn revision() -> String {
    match option_env!("MAAS_REVISION") {
        Some(revision) => format!("maas {} ({revision})", env!("CARGO_PKG_VERSION")),
        None => format!("maas {}", env!("CARGO_PKG_VERSION")),
    }
}
