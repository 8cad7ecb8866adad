//! Settings: what was typed, in three places, becomes one checked value.

mod settings;

pub use settings::{
    DrainSettings, EngineSettings, HttpSettings, LogFormat, ModelSettings, Settings,
};
