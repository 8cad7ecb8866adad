//! Default deny: only a method of the table, asked for by somebody who may, goes on.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::FutureExt;
use tonic::Code;

use crate::access::{Caller, Decision, Key, Need, Scope, allows};
use crate::domain::{Kind, Problem};
use crate::grpc::incoming::guarded;
use crate::grpc::infer::{TIMEOUT, timeout};
use crate::grpc::status::{OURS, status};
use crate::http::{App, Peer, bearer};

const ANYONE: Need = Need::Nothing;
const INFERENCE: Need = Need::Key(Scope::Inference);
const ADMIN: Need = Need::Key(Scope::Admin);

/// What each method needs of its caller.
#[rustfmt::skip]
pub const TABLE: [(&str, Need); 17] = [
    ("/inference.GRPCInferenceService/ServerLive", ANYONE),
    ("/inference.GRPCInferenceService/ServerReady", ANYONE),
    ("/inference.GRPCInferenceService/ModelReady", INFERENCE),
    ("/inference.GRPCInferenceService/ServerMetadata", INFERENCE),
    ("/inference.GRPCInferenceService/ModelMetadata", INFERENCE),
    ("/inference.GRPCInferenceService/ModelInfer", INFERENCE),
    ("/inference.GRPCInferenceService/ModelStreamInfer", INFERENCE),
    ("/inference.GRPCInferenceService/ModelConfig", INFERENCE),
    ("/inference.GRPCInferenceService/ModelStatistics", INFERENCE),
    ("/inference.GRPCInferenceService/RepositoryIndex", ADMIN),
    ("/inference.GRPCInferenceService/RepositoryModelLoad", ADMIN),
    ("/inference.GRPCInferenceService/RepositoryModelUnload", ADMIN),
    ("/inference.GRPCInferenceService/LogSettings", ADMIN),
    ("/grpc.health.v1.Health/Check", ANYONE),
    ("/grpc.health.v1.Health/Watch", ANYONE),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", INFERENCE),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", INFERENCE),
];

/// Methods that take more messages than one.
const STREAMS: [&str; 3] = [
    "/inference.GRPCInferenceService/ModelStreamInfer",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Who asks: whoever holds the key, or else the address.
#[derive(Clone)]
pub struct Asker(pub Option<Caller>);

/// When a call began, before its message had come.
#[derive(Clone, Copy)]
pub struct Began(pub Instant);

/// Lets a call through, or answers it. A panic is a failure like any other, and the connection lives on.
pub async fn pass(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    match admit(&app, &request) {
        Ok(asker) => {
            request.extensions_mut().insert(asker);
            request.extensions_mut().insert(Began(Instant::now()));
            let many = STREAMS.contains(&request.uri().path());
            // What is wrong with a timeout is said where the call begins.
            let timeout = timeout(request.headers().get(TIMEOUT)).ok().flatten();
            let limit = app.limits.body_timeout;
            // Of a stream, the timeout is that of the whole.
            let patience = timeout.filter(|_| !many).map_or(limit, |timeout| timeout.min(limit));
            let (head, body) = request.into_parts();
            let body = guarded(body, Arc::clone(&app), patience, many);
            let request = Request::from_parts(head, body);
            let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
            let fault = |_| status(&Problem::new(Kind::Internal, "a fault of this server"));
            let response = answered.unwrap_or_else(|panic| fault(panic).into_http());
            unreadable(&response).map_or(response, |problem| status(&problem).into_http())
        }
        Err(problem) => status(&problem).into_http(),
    }
}

/// What a message that could not be read deserves: the library blames the server for it, in words of its own.
fn unreadable(response: &Response) -> Option<Problem> {
    let headers = response.headers();
    let code = headers.get("grpc-status").filter(|_| !headers.contains_key(OURS))?;
    misread(Code::from_bytes(code.as_bytes()))
}

/// The same, by the code that the library gave it; `None` where it is no word on a message.
pub fn misread(code: Code) -> Option<Problem> {
    match code {
        Code::Internal | Code::Unknown | Code::DataLoss => Some(no_message()),
        // As it was sent, and as it was unpacked.
        Code::OutOfRange | Code::ResourceExhausted => {
            let detail = "the message is larger than this server takes; send fewer rows at once";
            Some(Problem::new(Kind::TooLarge, detail))
        }
        _ => None,
    }
}

/// What bytes that are no message of the method deserve.
pub fn no_message() -> Problem {
    let expected = "a message of this method, as inference.proto has it";
    let hint = "reflection describes the messages";
    Problem::fault(Kind::InvalidInput, "/message", expected, "other bytes", hint)
}

fn admit(app: &App, request: &Request) -> Result<Asker, Problem> {
    let path = request.uri().path();
    let Some(&(_, need)) = TABLE.iter().find(|(known, _)| *known == path) else {
        let detail = "there is no such method; reflection lists those that there are";
        return Err(Problem::new(Kind::Unsupported, detail));
    };
    let key = bearer(request.headers()).and_then(|secret| app.access.find(secret));
    match allows(need, app.access.open(), key) {
        Decision::Allow => {
            if let (Need::Key(Scope::Admin), Some(key)) = (need, key) {
                tracing::info!(key = key.name(), route = path, "administration");
            }
            let address = || request.extensions().get::<Peer>().map(|&Peer(at)| Caller::at(at));
            Ok(Asker(key.map(Key::holder).or_else(address)))
        }
        Decision::Unauthenticated => {
            let detail = "send a key of this server as metadata: authorization: Bearer KEY";
            Err(Problem::new(Kind::Unauthenticated, detail))
        }
        Decision::Forbidden => {
            Err(Problem::new(Kind::Forbidden, "this key lacks the scope of this method"))
        }
    }
}

impl Asker {
    /// Counts a prediction for whoever asks.
    ///
    /// # Errors
    /// [`Kind::RateLimited`] when that is one too many.
    pub fn take(&self, app: &App) -> Result<(), Problem> {
        app.take(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_a_row_and_every_row_a_method() {
        let proto = include_str!("inference.proto");
        let methods = proto.lines().filter_map(|line| line.trim().strip_prefix("rpc "));
        let methods = methods.filter_map(|line| Some(line.split_once('(')?.0));
        let methods: Vec<String> =
            methods.map(|name| format!("/inference.GRPCInferenceService/{name}")).collect();
        let rows = TABLE.iter().map(|(path, _)| *path);
        let rows: Vec<&str> = rows.filter(|path| path.starts_with("/inference.")).collect();
        assert_eq!(rows, methods);
    }
}
