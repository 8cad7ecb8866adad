//! How the visitors report faults: the first problem is kept aside in our own words, and the
//! deserialiser only learns that it must stop. Its own texts never reach a caller.

use std::cell::Cell;

use serde::de;

use crate::domain::{Kind, MediaLimits, Problem};

/// What every visitor knows.
pub struct Cx<'a> {
    pub limits: &'a MediaLimits,
    problem: Cell<Option<Problem>>,
}

impl<'a> Cx<'a> {
    pub fn new(limits: &'a MediaLimits) -> Self {
        Self { limits, problem: Cell::new(None) }
    }

    /// Keeps a problem and stops the reading.
    pub fn stop<E: de::Error>(&self, problem: Problem) -> E {
        self.problem.set(Some(problem));
        E::custom("stopped")
    }

    /// [`Cx::stop`] with one fault of form.
    pub fn fault<E: de::Error>(
        &self,
        pointer: &str,
        expected: &str,
        got: impl Into<String>,
        hint: &str,
    ) -> E {
        self.stop(Problem::fault(Kind::InvalidInput, pointer, expected, got, hint))
    }

    /// The problem that stopped the reading, or what a broken JSON text deserves.
    pub fn problem(&self, error: &serde_json::Error) -> Problem {
        self.problem.take().unwrap_or_else(|| syntax(error))
    }
}

/// JSON that is none: where, but never the deserialiser's words for it.
fn syntax(error: &serde_json::Error) -> Problem {
    let place = format!("line {}, column {}", error.line(), error.column());
    let got = if error.is_eof() {
        format!("a text that ends too early, at {place}")
    } else {
        format!("something else at {place}")
    };
    Problem::fault(
        Kind::InvalidInput,
        "",
        "JSON (RFC 8259)",
        got,
        "check quotes, commas and brackets; JSON has no NaN, no Infinity and no number beyond 1e308",
    )
}

/// A visitor's methods for kinds of value that it refuses, through its own `wrong`, and the
/// `expecting` that is never shown.
macro_rules! refuse {
    ($($kind:ident),*) => {
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a value of another kind")
        }
        $( $crate::http::parse::json::cx::refuse!(@$kind); )*
    };
    (@null) => {
        fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
            Err(self.wrong("null"))
        }
    };
    (@boolean) => {
        fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Self::Value, E> {
            Err(self.wrong("a boolean"))
        }
    };
    (@number) => {
        fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Self::Value, E> {
            Err(self.wrong(&format!("the number {value}")))
        }
        fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Self::Value, E> {
            Err(self.wrong(&format!("the number {value}")))
        }
        fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Self::Value, E> {
            Err(self.wrong(&format!("the number {value}")))
        }
    };
    (@string) => {
        fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Self::Value, E> {
            Err(self.wrong("a string"))
        }
    };
    (@list) => {
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
            Err(self.wrong("a list"))
        }
    };
    (@object) => {
        fn visit_map<A: serde::de::MapAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
            Err(self.wrong("an object"))
        }
    };
}
pub(super) use refuse;

/// Makes a visitor its own seed.
macro_rules! seed {
    ($name:ident => $value:ty) => {
        impl<'de> serde::de::DeserializeSeed<'de> for $name<'_, '_> {
            type Value = $value;
            fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<$value, D::Error> {
                from.deserialize_any(self)
            }
        }
    };
}
pub(super) use seed;

/// A visitor's methods for every kind of number, as one `f64`.
macro_rules! numbers {
    ($this:ident, $value:ident => $body:expr) => {
        fn visit_f64<E: serde::de::Error>($this, $value: f64) -> Result<Self::Value, E> {
            $body
        }
        #[expect(clippy::cast_precision_loss, reason = "a float holds what a float can hold")]
        fn visit_u64<E: serde::de::Error>($this, value: u64) -> Result<Self::Value, E> {
            let $value = value as f64;
            $body
        }
        #[expect(clippy::cast_precision_loss, reason = "a float holds what a float can hold")]
        fn visit_i64<E: serde::de::Error>($this, value: i64) -> Result<Self::Value, E> {
            let $value = value as f64;
            $body
        }
    };
}
pub(super) use numbers;
