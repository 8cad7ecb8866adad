//! How much the log says, changed while the server runs.

use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use tracing_subscriber::EnvFilter;

use crate::domain::{Kind, Params, Problem};

/// Debugging lines, and then all there are.
const VERBOSE_MAX: u64 = 2;

/// What the log says, in the words of Triton's logging extension. Levels lie in one another: information without
/// warnings is not offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Levels {
    pub log_info: bool,
    pub log_warning: bool,
    pub log_error: bool,
    /// 1 adds lines for debugging, 2 all there are.
    pub log_verbose_level: u64,
}

impl Default for Levels {
    fn default() -> Self {
        Self { log_info: true, log_warning: true, log_error: true, log_verbose_level: 0 }
    }
}

impl Levels {
    /// With what the parameters say.
    fn with(self, params: &Params) -> Result<Self, Problem> {
        let mut reader = params.reader();
        let levels = Self {
            log_info: reader.flag("log_info").unwrap_or(self.log_info),
            log_warning: reader.flag("log_warning").unwrap_or(self.log_warning),
            log_error: reader.flag("log_error").unwrap_or(self.log_error),
            log_verbose_level: reader
                .integer("log_verbose_level", 0..=VERBOSE_MAX)
                .unwrap_or(self.log_verbose_level),
        };
        reader.finish()?;
        let Self { log_info, log_warning, log_error, log_verbose_level } = levels;
        if log_info && !log_warning
            || log_warning && !log_error
            || log_verbose_level > 0 && !log_info
        {
            return Err(Problem::fault(
                Kind::Unsupported,
                "",
                "each level with those that are graver",
                "a level without them",
                "turn off log_verbose_level, log_info, log_warning and log_error in this order",
            ));
        }
        Ok(levels)
    }

    /// The filter that says so; `usual` is the one of the settings.
    fn filter(self, usual: &str) -> String {
        match self {
            Self { log_verbose_level: 1, .. } => format!("{usual},maas=debug"),
            Self { log_verbose_level: 2.., .. } => format!("{usual},maas=trace"),
            Self { log_info: true, .. } => usual.to_owned(),
            Self { log_warning: true, .. } => "warn".to_owned(),
            Self { log_error: true, .. } => "error".to_owned(),
            _ => "off".to_owned(),
        }
    }
}

/// The log's levels, and the hand that sets them.
pub struct Logging {
    usual: String,
    levels: Mutex<Levels>,
    set: Box<dyn Fn(EnvFilter) -> bool + Send + Sync>,
}

impl Default for Logging {
    /// Of a log that somebody else keeps.
    fn default() -> Self {
        Self::new(String::new(), |_| true)
    }
}

impl Logging {
    pub(super) fn new(
        usual: String,
        set: impl Fn(EnvFilter) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { usual, levels: Mutex::default(), set: Box::new(set) }
    }

    #[must_use]
    pub fn levels(&self) -> Levels {
        *self.levels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what the parameters name, and says what holds then.
    ///
    /// # Errors
    /// [`Kind::InvalidInput`] and [`Kind::Unsupported`] for what cannot be set.
    pub fn change(&self, params: &Params) -> Result<Levels, Problem> {
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        let next = levels.with(params)?;
        let failed = || Problem::new(Kind::Internal, "the log's levels cannot be changed");
        let filter = EnvFilter::try_new(next.filter(&self.usual)).map_err(|_| failed())?;
        if !(self.set)(filter) {
            return Err(failed());
        }
        *levels = next;
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::ParamValue;

    fn params(pairs: &[(&str, ParamValue)]) -> Params {
        let mut params = Params::default();
        for (name, value) in pairs {
            params.insert(name, value.clone(), format!("/{name}"));
        }
        params
    }

    #[test]
    fn levels_become_filters() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let logging = Logging::new("info".to_owned(), move |filter| {
            log.lock().unwrap().push(filter.to_string());
            true
        });
        let verbose = params(&[("log_verbose_level", ParamValue::Number(1.0))]);
        assert_eq!(logging.change(&verbose).unwrap().log_verbose_level, 1);
        let quiet =
            [("log_verbose_level", ParamValue::Number(0.0)), ("log_info", ParamValue::Bool(false))];
        assert!(!logging.change(&params(&quiet)).unwrap().log_info);
        assert_eq!(*seen.lock().unwrap(), ["maas=debug,info", "warn"]);
        for bad in [
            ("log_warning", ParamValue::Text("no".into())),
            ("log_file", ParamValue::Text("/tmp/x".into())),
            ("log_verbose_level", ParamValue::Number(3.0)),
            ("log_verbose_level", ParamValue::Number(1.0)),
            ("log_error", ParamValue::Bool(false)),
        ] {
            assert!(logging.change(&params(std::slice::from_ref(&bad))).is_err(), "{bad:?}");
        }
        assert_eq!(seen.lock().unwrap().len(), 2, "what is refused changes nothing");
    }
}
