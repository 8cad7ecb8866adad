//! Default deny: only a method of the table, asked for by somebody who may, goes on.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::access::{Caller, Decision, Key, Need, Scope, allows};
use crate::domain::{Kind, Problem};
use crate::grpc::status::status;
use crate::http::{App, Peer};

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

/// Who asks: whoever holds the key, or else the address.
#[derive(Clone)]
pub struct Asker(pub Option<Caller>);

/// Lets a call through, or answers it.
pub async fn pass(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    match admit(&app, &request) {
        Ok(asker) => {
            request.extensions_mut().insert(asker);
            next.run(request).await
        }
        Err(problem) => status(&problem).into_http(),
    }
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
        let Some(caller) = self.0 else { return Ok(()) };
        app.rates.take(caller, Instant::now()).map_err(|wait| {
            let most = app.limits.caller_requests_per_s_max;
            let detail = format!("this caller is over its limit of {most} predictions a second");
            Problem::new(Kind::RateLimited, detail).retry_after(wait)
        })
    }
}

/// The secret of `authorization: Bearer <secret>`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, secret) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}
