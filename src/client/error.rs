//! Why there is no answer.

use std::fmt;

use serde::Deserialize;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("expected http://HOST:PORT, got {0:?}")]
    Address(String),
    #[error("the server does not answer: {0}")]
    Broken(#[from] reqwest::Error),
    #[error("{0}")]
    Refused(Box<Refusal>),
    #[error("the answer is not one of a maas server")]
    Foreign,
}

impl From<Refusal> for ClientError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

/// A problem, as the server tells it (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Refusal {
    pub status: u16,
    pub detail: String,
    #[serde(default)]
    pub errors: Vec<Fault>,
    /// A command that works for the model.
    #[serde(default)]
    pub example: Option<String>,
}

/// One thing to mend.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Fault {
    pub pointer: String,
    pub expected: String,
    pub got: String,
    pub hint: String,
}

/// As the routes of OpenAI's clients tell it.
#[derive(Deserialize)]
struct OpenAiRefusal {
    error: Message,
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

impl Refusal {
    /// From a body; one of another server's, or of what is in front, says its status alone.
    pub(super) fn read(status: u16, body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_else(|_| {
            let told =
                serde_json::from_slice(body).ok().map(|OpenAiRefusal { error }| error.message);
            let detail = told.unwrap_or_else(|| format!("the server answered {status}"));
            Self { status, detail, errors: Vec::new(), example: None }
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)?;
        if let Some(fault) = self.errors.first() {
            write!(f, "; {}", fault.hint)?;
        }
        Ok(())
    }
}
