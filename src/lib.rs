pub mod arch;
pub mod compute;
pub mod config;
pub mod domain;
pub mod engine;
pub mod package;
pub mod registry;
