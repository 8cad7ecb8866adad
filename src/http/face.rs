//! How a family of routes shows what went wrong: one failure inside, a face for each protocol.

use axum::http::{HeaderValue, StatusCode};

use crate::domain::Problem;
use crate::http::error::{self, Shown};

/// Whose clients a route is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// Our own: RFC 9457.
    Native,
    /// The Open Inference Protocol: `{"error": text}`.
    OpenInference,
    /// TorchServe's: `{code, type, message}`.
    TorchServe,
    /// OpenAI's: `{"error": {message, type, param, code}}`.
    OpenAi,
}

impl Face {
    /// Of a path that no route matches.
    pub fn of_path(path: &str) -> Self {
        const OPEN_AI: [&str; 5] =
            ["/v1/models", "/v1/completions", "/v1/chat", "/v1/embeddings", "/v1/audio"];
        let is_in = |family: &str| {
            path.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if is_in("/v2") {
            Self::OpenInference
        } else if is_in("/predictions") || is_in("/models") {
            Self::TorchServe
        } else if OPEN_AI.into_iter().any(is_in) {
            Self::OpenAi
        } else {
            Self::Native
        }
    }

    /// The body of a failure, below 4 KiB.
    pub fn document(self, problem: &Problem, shown: &Shown<'_>) -> String {
        match self {
            Self::Native => error::native(problem, shown),
            Self::OpenInference => error::open_inference(problem),
            Self::OpenAi => error::open_ai(problem, shown.status),
            Self::TorchServe => error::torch_serve(problem, shown.status),
        }
    }

    pub fn media_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Native => "application/problem+json",
            Self::OpenInference | Self::OpenAi | Self::TorchServe => "application/json",
        })
    }
}

impl Shown<'_> {
    /// Where nothing is known but the status.
    pub fn plain(status: StatusCode, request: &str) -> Shown<'_> {
        Shown { status, request, example: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_belong_to_a_family_by_whole_segments() {
        for (path, face) in [
            ("/v2", Face::OpenInference),
            ("/v2/nothing", Face::OpenInference),
            ("/v2x", Face::Native),
            ("/v1/chat/nothing", Face::OpenAi),
            ("/v1/models/a/b/c", Face::OpenAi),
            ("/v1/predict/x/y/z", Face::Native),
            ("/predictions/a/b/c", Face::TorchServe),
            ("/", Face::Native),
        ] {
            assert_eq!(Face::of_path(path), face, "{path}");
        }
    }
}
