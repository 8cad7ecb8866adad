//! How one setting is read from text and shown as text.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::{Compat, LogFormat, MetricsCompat, Micros};
use crate::domain::{CpuChoice, DeviceChoice};

/// The TOML type of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Text,
    Integer,
    Boolean,
}

impl Form {
    /// What a value of another type is told.
    #[must_use]
    pub fn expected(self) -> &'static str {
        match self {
            Self::Text => "a text in quotes",
            Self::Integer => "a whole number",
            Self::Boolean => "true or false",
        }
    }
}

/// A setting that is a text in the file.
pub(super) trait Text: Sized {
    const EXPECTED: &str;
    fn parse(text: &str) -> Option<Self>;
    /// `None` when it is not set, and then it is not shown.
    fn show(&self) -> Option<String>;
}

impl Text for SocketAddr {
    const EXPECTED: &str = "an address with a port, such as 127.0.0.1:8080 or [::1]:8080";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Text for PathBuf {
    const EXPECTED: &str = "a path";

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self::from(text))
    }

    fn show(&self) -> Option<String> {
        Some(self.display().to_string())
    }
}

/// The empty text is no path: an upper layer can take back what a lower one set.
impl Text for Option<PathBuf> {
    const EXPECTED: &str = "a path, or an empty text for none";

    fn parse(text: &str) -> Option<Self> {
        Some((!text.is_empty()).then(|| PathBuf::from(text)))
    }

    fn show(&self) -> Option<String> {
        Some(self.as_ref().map(|path| path.display().to_string()).unwrap_or_default())
    }
}

impl Text for CpuChoice {
    const EXPECTED: &str = "auto, portable, avx2, avx512, amx or neon";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Text for DeviceChoice {
    const EXPECTED: &str = "auto, cpu or cuda:N";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Text for Option<DeviceChoice> {
    const EXPECTED: &str = DeviceChoice::EXPECTED;

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Some)
    }

    fn show(&self) -> Option<String> {
        self.map(|device| device.to_string())
    }
}

impl Text for Compat {
    const EXPECTED: &str = "none or torchserve";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "none" => Some(Self::None),
            "torchserve" => Some(Self::TorchServe),
            _ => None,
        }
    }

    fn show(&self) -> Option<String> {
        Some(match self {
            Self::None => "none".to_owned(),
            Self::TorchServe => "torchserve".to_owned(),
        })
    }
}

impl Text for MetricsCompat {
    const EXPECTED: &str = "none or triton";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "none" => Some(Self::None),
            "triton" => Some(Self::Triton),
            _ => None,
        }
    }

    fn show(&self) -> Option<String> {
        Some(match self {
            Self::None => "none".to_owned(),
            Self::Triton => "triton".to_owned(),
        })
    }
}

impl Text for LogFormat {
    const EXPECTED: &str = "pretty or json";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "pretty" => Some(Self::Pretty),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    fn show(&self) -> Option<String> {
        Some(match self {
            Self::Pretty => "pretty".to_owned(),
            Self::Json => "json".to_owned(),
        })
    }
}

impl Text for String {
    const EXPECTED: &str = "a text that is not empty";

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn show(&self) -> Option<String> {
        Some(self.clone())
    }
}

/// A setting that is a whole number in the file; its unit is the last word of its key.
pub(super) trait Number: Sized {
    fn from_u64(number: u64) -> Option<Self>;
    fn to_u64(&self) -> Option<u64>;
}

impl Number for usize {
    fn from_u64(number: u64) -> Option<Self> {
        number.try_into().ok()
    }

    fn to_u64(&self) -> Option<u64> {
        (*self).try_into().ok()
    }
}

impl Number for u32 {
    fn from_u64(number: u64) -> Option<Self> {
        number.try_into().ok()
    }

    fn to_u64(&self) -> Option<u64> {
        Some(u64::from(*self))
    }
}

impl Number for u64 {
    fn from_u64(number: u64) -> Option<Self> {
        Some(number)
    }

    fn to_u64(&self) -> Option<u64> {
        Some(*self)
    }
}

/// Milliseconds.
impl Number for Duration {
    fn from_u64(number: u64) -> Option<Self> {
        Some(Self::from_millis(number))
    }

    fn to_u64(&self) -> Option<u64> {
        self.as_millis().try_into().ok()
    }
}

impl Number for Micros {
    fn from_u64(number: u64) -> Option<Self> {
        Some(Self(Duration::from_micros(number)))
    }

    fn to_u64(&self) -> Option<u64> {
        self.0.as_micros().try_into().ok()
    }
}

/// A setting that is true or false.
pub(super) trait Switch: Sized {
    fn from_bool(on: bool) -> Self;
    fn to_bool(&self) -> Option<bool>;
}

impl Switch for bool {
    fn from_bool(on: bool) -> Self {
        on
    }

    fn to_bool(&self) -> Option<bool> {
        Some(*self)
    }
}

impl Switch for Option<bool> {
    fn from_bool(on: bool) -> Self {
        Some(on)
    }

    fn to_bool(&self) -> Option<bool> {
        *self
    }
}

impl<N: Number> Number for Option<N> {
    fn from_u64(number: u64) -> Option<Self> {
        N::from_u64(number).map(Some)
    }

    fn to_u64(&self) -> Option<u64> {
        self.as_ref().and_then(Number::to_u64)
    }
}
