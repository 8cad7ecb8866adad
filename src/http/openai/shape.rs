//! What the answers have in common.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::domain::{Card, RequestId};

/// The keys that begin an answer, and each event of a stream.
#[derive(Clone, Serialize)]
pub struct Head {
    id: String,
    object: &'static str,
    created: u64,
    model: String,
    system_fingerprint: String,
}

impl Head {
    /// `prefix` says in the id what it is an answer of.
    pub fn new(
        prefix: &str,
        object: &'static str,
        id: &RequestId,
        said: &str,
        card: &Card,
    ) -> Self {
        Self {
            id: format!("{prefix}-{id}"),
            object,
            created: now(),
            model: said.to_owned(),
            system_fingerprint: fingerprint(card),
        }
    }
}

/// What makes the answers what they are: the package, by the start of its digest, and the program.
fn fingerprint(card: &Card) -> String {
    let digest = card.digest.to_string();
    format!("fp_{}_{}", digest.get(..12).unwrap_or_default(), env!("CARGO_PKG_VERSION"))
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// What an answer took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_field_names, reason = "as clients read them")]
pub struct Usage {
    pub prompt_tokens: usize,
    pub completion_tokens: usize,
    pub total_tokens: usize,
}

/// An answer, or an event of one that is streamed.
#[derive(Serialize)]
pub struct Body<'a, C> {
    #[serde(flatten)]
    pub head: &'a Head,
    pub choices: Vec<C>,
    #[serde(skip_serializing_if = "Spent::is_unasked")]
    pub usage: Spent,
}

/// Where an answer says what it took.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
pub enum Spent {
    /// In events of a stream that nobody asked it of: the key is absent.
    Unasked,
    /// In events before the last: null.
    Later,
    Known(Usage),
}

impl Spent {
    fn is_unasked(&self) -> bool {
        matches!(self, Self::Unasked)
    }
}
