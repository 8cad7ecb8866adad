//! The log: people's lines or JSON, to standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;
use crate::telemetry::levels::Logging;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    #[error("expected a log filter such as info or maas=debug,info, got {0:?}")]
    Filter(String),
    #[error("a log is there already")]
    Twice,
}

/// Starts the log of this process, and gives the hand that sets its levels.
///
/// # Errors
/// [`LogError::Filter`] when `filter` does not parse, [`LogError::Twice`] on a second call.
pub fn init(format: LogFormat, filter: &str) -> Result<Logging, LogError> {
    let log = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let (usual, filter) = (filter.to_owned(), parse(filter)?);
    let (started, logging) = match format {
        LogFormat::Pretty => {
            let log = log.with_env_filter(filter).with_filter_reloading();
            let handle = log.reload_handle();
            (log.try_init(), Logging::new(usual, move |filter| handle.reload(filter).is_ok()))
        }
        LogFormat::Json => {
            let log = log.json().flatten_event(true);
            let log = log.with_env_filter(filter).with_filter_reloading();
            let handle = log.reload_handle();
            (log.try_init(), Logging::new(usual, move |filter| handle.reload(filter).is_ok()))
        }
    };
    started.map_err(|_| LogError::Twice)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(logging)
}

/// A panic is logged by its place. Its message is not: it may quote what a caller sent.
fn log_panic(info: &std::panic::PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    tracing::error!(place, thread = thread.name().unwrap_or_default(), "a panic");
}

/// Whether [`init`] would take this filter.
///
/// # Errors
/// [`LogError::Filter`] when it does not parse.
pub fn check_filter(filter: &str) -> Result<(), LogError> {
    parse(filter).map(drop)
}

fn parse(filter: &str) -> Result<EnvFilter, LogError> {
    let shown = || LogError::Filter(filter.chars().take(80).collect());
    EnvFilter::try_new(filter).map_err(|_| shown())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_checked() {
        for good in ["info", "maas=debug,info", "off"] {
            parse(good).unwrap();
        }
        assert_eq!(parse("maas=loud").unwrap_err(), LogError::Filter("maas=loud".into()));
    }
}
