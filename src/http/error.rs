//! One failure, one face: RFC 9457 `application/problem+json`.
//!
//! A [`Failure`] becomes a response that carries its [`Problem`] as an extension; the layer `explain`
//! writes the body, because it knows the request's id and model. So does every fallback and panic.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::domain::{Fault, Kind, Problem};

/// What a body of ours never exceeds.
const BODY_BYTES_MAX: usize = 4096;
const TEXT_CHARS_MAX: usize = 400;

/// A problem on its way to a response.
#[derive(Debug)]
pub struct Failure {
    pub problem: Problem,
    status: StatusCode,
    headers: HeaderMap,
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let status = status(problem.kind);
        let mut headers = HeaderMap::new();
        if problem.kind == Kind::Unauthenticated {
            let scheme = HeaderValue::from_static("Bearer realm=\"maas\"");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            let wait = problem.retry_after.unwrap_or(Duration::from_secs(1));
            // Whole seconds, rounded up: an early retry would only meet the same answer.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        Self { problem, status, headers }
    }
}

impl Failure {
    /// The method is not one of `allowed`.
    pub fn method_not_allowed(allowed: &str) -> Self {
        let mut failure = Self::from(Problem::fault(
            Kind::Unsupported,
            "/method",
            allowed,
            "another method",
            "use one of those",
        ));
        failure.status = StatusCode::METHOD_NOT_ALLOWED;
        if let Ok(allowed) = HeaderValue::from_str(allowed) {
            failure.headers.insert(header::ALLOW, allowed);
        }
        failure
    }

    /// The body did not come in time.
    pub fn body_timeout(limit: Duration) -> Self {
        let mut failure = Self::from(Problem::fault(
            Kind::InvalidInput,
            "/body",
            format!("a whole body within {} s", limit.as_secs_f32()),
            "a part of it",
            "send the body faster, or a smaller one",
        ));
        failure.status = StatusCode::REQUEST_TIMEOUT;
        failure
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.headers).into_response();
        response.extensions_mut().insert(self.problem);
        response
    }
}

/// The one mapping of the vocabulary to HTTP.
pub fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::InvalidInput | Kind::Unsupported => StatusCode::BAD_REQUEST,
        Kind::UnsupportedMedia => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Kind::Undecodable => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Kind::Overloaded | Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Kind::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What a kind is called in `type`, and what it means in a few words.
fn name(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::InvalidInput => ("invalid-input", "The request is not usable"),
        Kind::UnsupportedMedia => ("unsupported-media", "The media type is not read here"),
        Kind::Undecodable => ("undecodable", "The bytes do not decode"),
        Kind::Unsupported => ("unsupported", "This is not offered"),
        Kind::NotFound => ("not-found", "There is no such thing"),
        Kind::Conflict => ("conflict", "This is at odds with what is there"),
        Kind::Unauthenticated => ("unauthenticated", "A key is needed"),
        Kind::Forbidden => ("forbidden", "The key is not good for this"),
        Kind::TooLarge => ("too-large", "The request is over a limit"),
        Kind::RateLimited => ("rate-limited", "Too many requests"),
        Kind::Overloaded => ("overloaded", "The server is full"),
        Kind::Unavailable => ("unavailable", "Not ready"),
        Kind::DeadlineExceeded => ("deadline-exceeded", "The deadline passed"),
        Kind::StorageFull => ("storage-full", "The storage is full"),
        Kind::Internal => ("internal", "The server failed"),
    }
}

/// The members of a problem document, in the order people read them.
#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: String,
    instance: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Fault>,
    #[serde(skip_serializing_if = "Option::is_none")]
    example: Option<&'a str>,
}

/// The problem as JSON, below 4 KiB: long texts are cut, then faults dropped from the end.
pub fn document(
    problem: &Problem,
    status: StatusCode,
    request: &str,
    example: Option<&str>,
) -> String {
    let (name, title) = name(problem.kind);
    let mut document = Document {
        r#type: format!("urn:maas:error:{name}"),
        title,
        status: status.as_u16(),
        detail: cut(&problem.detail),
        instance: format!("/requests/{request}"),
        errors: problem.faults.iter().take(16).map(short).collect(),
        example,
    };
    loop {
        let json = serde_json::to_string(&document).unwrap_or_default();
        if json.len() < BODY_BYTES_MAX || document.errors.pop().is_none() {
            return json;
        }
    }
}

fn short(fault: &Fault) -> Fault {
    Fault {
        pointer: cut(&fault.pointer),
        expected: cut(&fault.expected),
        got: cut(&fault.got),
        hint: cut(&fault.hint),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_small_however_long_the_faults() {
        let mut problem = Problem::new(Kind::InvalidInput, "x".repeat(5000));
        let fault =
            Problem::fault(Kind::InvalidInput, "/a", "é".repeat(900), "\"".repeat(900), "h");
        problem.faults = vec![fault.faults[0].clone(); 40];
        let json = document(&problem, StatusCode::BAD_REQUEST, "id", Some("curl"));
        assert!(json.len() < 4096, "{}", json.len());
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["type"], "urn:maas:error:invalid-input");
        assert_eq!(value["instance"], "/requests/id");
        assert!(!value["errors"].as_array().unwrap().is_empty());
    }

    #[test]
    fn a_wait_is_whole_seconds_rounded_up() {
        let problem =
            Problem::new(Kind::Overloaded, "full").retry_after(Duration::from_millis(1200));
        let response = Failure::from(problem).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
    }
}
