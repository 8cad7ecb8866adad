//! One failure, and a body for each [`Face`](crate::http::face::Face).
//!
//! A [`Failure`] becomes a response that carries its [`Problem`] as an extension; the layer `explain`
//! writes the body, because it knows the request's route, id and model. So does every fallback and panic.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use crate::domain::{Fault, Kind, Problem, cut};

/// What a body of ours never exceeds.
const BODY_BYTES_MAX: usize = 4096;

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

    /// Other servers have it, and clients may ask for it.
    pub fn not_implemented(detail: &str) -> Self {
        let mut failure = Self::from(Problem::new(Kind::Unsupported, detail));
        failure.status = StatusCode::NOT_IMPLEMENTED;
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
        Kind::Overloaded | Kind::Loading | Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
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
        Kind::Loading => ("loading", "The model is being loaded"),
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

/// What is told beside a problem.
pub struct Shown<'a> {
    pub status: StatusCode,
    /// The request's id.
    pub request: &'a str,
    /// A command that works for the model that was asked.
    pub example: Option<&'a str>,
}

/// The problem as RFC 9457 has it, below 4 KiB: long texts are cut, then faults dropped from the end.
pub fn native(problem: &Problem, shown: &Shown<'_>) -> String {
    let (name, title) = name(problem.kind);
    let mut document = Document {
        r#type: format!("urn:maas:error:{name}"),
        title,
        status: shown.status.as_u16(),
        detail: cut(&problem.detail),
        instance: format!("/requests/{}", shown.request),
        errors: problem.faults.iter().take(16).map(short).collect(),
        example: shown.example,
    };
    loop {
        let json = serde_json::to_string(&document).unwrap_or_default();
        if json.len() < BODY_BYTES_MAX || document.errors.pop().is_none() {
            return json;
        }
    }
}

/// The problem as the Open Inference Protocol has it: one text, which says also how to mend the first fault.
pub fn open_inference(problem: &Problem) -> String {
    json!({ "error": problem.sentence() }).to_string()
}

/// The problem as OpenAI's clients read it: all four keys are always there.
pub fn open_ai(problem: &Problem, status: StatusCode) -> String {
    let (r#type, code) = open_ai_names(problem.kind, status);
    let param = problem.faults.first().and_then(|fault| parameter(&fault.pointer));
    let error = json!({
        "message": problem.sentence(), "type": r#type, "param": param, "code": code
    });
    json!({ "error": error }).to_string()
}

/// The problem as TorchServe has it.
pub fn torch_serve(problem: &Problem, status: StatusCode) -> String {
    let r#type = match problem.kind {
        Kind::NotFound => "ModelNotFoundException",
        Kind::Overloaded | Kind::Loading | Kind::Unavailable | Kind::RateLimited => {
            "ServiceUnavailableException"
        }
        Kind::Unauthenticated | Kind::Forbidden => "InvalidKeyException",
        Kind::Internal | Kind::DeadlineExceeded | Kind::StorageFull => "InternalServerException",
        _ => "BadRequestException",
    };
    json!({ "code": status.as_u16(), "type": r#type, "message": problem.sentence() }).to_string()
}

/// OpenAI's `type` and `code`.
fn open_ai_names(kind: Kind, status: StatusCode) -> (&'static str, &'static str) {
    const INVALID: &str = "invalid_request_error";
    match kind {
        Kind::Unsupported if status == StatusCode::METHOD_NOT_ALLOWED => {
            (INVALID, "method_not_allowed")
        }
        Kind::InvalidInput => (INVALID, "invalid_value"),
        Kind::Unsupported => (INVALID, "unsupported_parameter"),
        Kind::UnsupportedMedia | Kind::Undecodable => (INVALID, "invalid_media"),
        Kind::NotFound => (INVALID, "model_not_found"),
        Kind::TooLarge => (INVALID, "input_too_large"),
        Kind::Conflict => (INVALID, "conflict"),
        Kind::Unauthenticated => ("authentication_error", "invalid_api_key"),
        Kind::Forbidden => ("permission_error", "model_not_allowed"),
        Kind::RateLimited => ("rate_limit_error", "rate_limit_exceeded"),
        Kind::Overloaded => ("server_error", "overloaded"),
        Kind::Loading => ("server_error", "model_loading"),
        Kind::Unavailable => ("server_error", "model_unavailable"),
        Kind::DeadlineExceeded => ("server_error", "deadline_exceeded"),
        Kind::StorageFull => ("server_error", "storage_full"),
        Kind::Internal => ("server_error", "inference_failed"),
    }
}

/// A pointer as OpenAI names a parameter: `/messages/0/role` is `messages[0].role`. What is not a part of
/// the document has no name.
fn parameter(pointer: &str) -> Option<String> {
    let pointer = pointer.strip_prefix("/parameters").unwrap_or(pointer);
    let mut steps = pointer.strip_prefix('/')?.split('/');
    let mut name = steps.next().filter(|&first| !matches!(first, "body" | "headers"))?.to_owned();
    for step in steps {
        let number = !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit());
        let (before, after) = if number { ("[", "]") } else { (".", "") };
        name.extend([before, step, after]);
    }
    Some(cut(&name))
}

fn short(fault: &Fault) -> Fault {
    Fault {
        pointer: cut(&fault.pointer),
        expected: cut(&fault.expected),
        got: cut(&fault.got),
        hint: cut(&fault.hint),
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
        let shown = Shown { status: StatusCode::BAD_REQUEST, request: "id", example: Some("curl") };
        let json = native(&problem, &shown);
        assert!(json.len() < 4096, "{}", json.len());
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["type"], "urn:maas:error:invalid-input");
        assert_eq!(value["instance"], "/requests/id");
        assert!(!value["errors"].as_array().unwrap().is_empty());
    }

    #[test]
    fn each_family_has_its_own_shape() {
        let problem =
            Problem::fault(Kind::InvalidInput, "/messages/0/role", "a role", "none", "add it");
        assert_eq!(
            open_inference(&problem),
            r#"{"error":"/messages/0/role: expected a role, got none; add it"}"#
        );
        let value: serde_json::Value =
            serde_json::from_str(&open_ai(&problem, StatusCode::BAD_REQUEST)).unwrap();
        assert_eq!(value["error"]["param"], "messages[0].role");
        assert_eq!(value["error"]["type"], "invalid_request_error");
        assert_eq!(value["error"]["code"], "invalid_value");
        let other = Problem::new(Kind::RateLimited, "x".repeat(9000));
        let value: serde_json::Value =
            serde_json::from_str(&open_ai(&other, StatusCode::TOO_MANY_REQUESTS)).unwrap();
        assert!(value["error"]["param"].is_null(), "{value}");
        assert!(value["error"]["message"].as_str().unwrap().len() < 1300);
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
