//! Every route there is. What is not in this table is refused.

use axum::http::Method;
use axum::routing::{MethodRouter, delete, get, post, put};
use std::sync::Arc;

use crate::access::{Need, Scope};
use crate::config::Compat;
use crate::http::App;
use crate::http::face::Face::{self, OpenAi, OpenInference, TorchServe};
use crate::http::openai::{audio, chat, completions, embeddings, models};
use crate::http::openapi;
use crate::http::routes::oip::{self, generate, infer, logging, repository, server};
use crate::http::routes::{admin, metrics, predict, probes, torchserve};

/// Which of the two doors a request came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// Inference, models, probes and metrics.
    Main,
    /// Administration; loopback by default.
    Admin,
}

/// One route: what it needs of its caller on each listener, `None` where it is not offered.
pub struct Row {
    pub method: Method,
    pub path: &'static str,
    pub main: Option<Need>,
    pub admin: Option<Need>,
    /// How its failures look.
    pub face: Face,
    pub handler: fn() -> MethodRouter<Arc<App>>,
}

impl Row {
    pub fn need(&self, listener: Listener) -> Option<Need> {
        match listener {
            Listener::Main => self.main,
            Listener::Admin => self.admin,
        }
    }

    /// Whether requests are predictions, which the metrics count.
    pub fn predicts(&self) -> bool {
        matches!(self.method, Method::POST | Method::PUT) && self.main == INFERENCE
    }

    /// Whether it is offered, where `compat` is what the settings say.
    pub fn is_on(&self, compat: Compat) -> bool {
        self.face != TorchServe || compat == Compat::TorchServe
    }
}

const ANYONE: Option<Need> = Some(Need::Nothing);
const INFERENCE: Option<Need> = Some(Need::Key(Scope::Inference));
const METRICS: Option<Need> = Some(Need::Key(Scope::Metrics));
const ADMIN: Option<Need> = Some(Need::Key(Scope::Admin));

#[rustfmt::skip]
pub static TABLE: &[Row] = &[
    row(Method::POST, "/v1/predict", INFERENCE, None, || post(predict::predict)),
    row(Method::POST, "/v1/predict/{model}", INFERENCE, None, || post(predict::predict)),
    row(Method::POST, "/v1/predict/{model}/versions/{version}", INFERENCE, None, || post(predict::predict)),
    row(Method::GET, "/v1/models", INFERENCE, None, || get(models::list)).of(OpenAi),
    row(Method::GET, "/v1/models/{model}", INFERENCE, None, || get(models::show)).of(OpenAi),
    row(Method::POST, "/v1/completions", INFERENCE, None, || post(completions::complete)).of(OpenAi),
    row(Method::POST, "/v1/chat/completions", INFERENCE, None, || post(chat::complete)).of(OpenAi),
    row(Method::POST, "/v1/embeddings", INFERENCE, None, || post(embeddings::embed)).of(OpenAi),
    row(Method::POST, "/v1/audio/transcriptions", INFERENCE, None, || post(audio::transcribe)).of(OpenAi),
    row(Method::POST, "/v1/audio/translations", INFERENCE, None, || post(audio::translate)).of(OpenAi),
    row(Method::GET, "/v2", INFERENCE, None, || get(server::metadata)).of(OpenInference),
    row(Method::GET, "/v2/", INFERENCE, None, || get(server::metadata)).of(OpenInference),
    row(Method::GET, "/v2/health/live", ANYONE, ANYONE, || get(server::live)).of(OpenInference),
    row(Method::GET, "/v2/health/ready", ANYONE, ANYONE, || get(server::ready)).of(OpenInference),
    row(Method::GET, "/v2/models", INFERENCE, None, || get(oip::models::list)).of(OpenInference),
    row(Method::GET, "/v2/models/stats", INFERENCE, None, || get(oip::models::stats)).of(OpenInference),
    row(Method::GET, "/v2/models/{model}", INFERENCE, None, || get(oip::models::metadata)).of(OpenInference),
    row(Method::GET, "/v2/models/{model}/versions/{version}", INFERENCE, None, || get(oip::models::metadata)).of(OpenInference),
    row(Method::GET, "/v2/models/{model}/ready", INFERENCE, None, || get(oip::models::ready)).of(OpenInference),
    row(Method::GET, "/v2/models/{model}/versions/{version}/ready", INFERENCE, None, || get(oip::models::ready)).of(OpenInference),
    row(Method::GET, "/v2/models/{model}/config", INFERENCE, None, || get(oip::models::config)).of(OpenInference),
    row(Method::GET, "/v2/models/{model}/versions/{version}/config", INFERENCE, None, || get(oip::models::config)).of(OpenInference),
    row(Method::GET, "/v2/models/{model}/stats", INFERENCE, None, || get(oip::models::stats)).of(OpenInference),
    row(Method::GET, "/v2/models/{model}/versions/{version}/stats", INFERENCE, None, || get(oip::models::stats)).of(OpenInference),
    row(Method::POST, "/v2/models/{model}/infer", INFERENCE, None, || post(infer::infer)).of(OpenInference),
    row(Method::POST, "/v2/models/{model}/versions/{version}/infer", INFERENCE, None, || post(infer::infer)).of(OpenInference),
    row(Method::POST, "/v2/models/{model}/generate", INFERENCE, None, || post(generate::whole)).of(OpenInference),
    row(Method::POST, "/v2/models/{model}/versions/{version}/generate", INFERENCE, None, || post(generate::whole)).of(OpenInference),
    row(Method::POST, "/v2/models/{model}/generate_stream", INFERENCE, None, || post(generate::streamed)).of(OpenInference),
    row(Method::POST, "/v2/models/{model}/versions/{version}/generate_stream", INFERENCE, None, || post(generate::streamed)).of(OpenInference),
    row(Method::POST, "/v2/repository/index", ADMIN, None, || post(repository::list)).of(OpenInference),
    row(Method::POST, "/v2/repository/{repository}/index", ADMIN, None, || post(repository::list)).of(OpenInference),
    row(Method::POST, "/v2/repository/models/{model}/load", ADMIN, None, || post(repository::load)).of(OpenInference),
    row(Method::POST, "/v2/repository/models/{model}/unload", ADMIN, None, || post(repository::unload)).of(OpenInference),
    row(Method::POST, "/v2/repository/{repository}/models/{model}/load", ADMIN, None, || post(repository::load)).of(OpenInference),
    row(Method::POST, "/v2/repository/{repository}/models/{model}/unload", ADMIN, None, || post(repository::unload)).of(OpenInference),
    row(Method::GET, "/v2/logging", INFERENCE, None, || get(logging::show)).of(OpenInference),
    row(Method::POST, "/v2/logging", ADMIN, None, || post(logging::change)).of(OpenInference),
    row(Method::GET, "/v2/trace/setting", INFERENCE, None, || get(server::absent)).of(OpenInference),
    row(Method::POST, "/v2/trace/setting", INFERENCE, None, || post(server::absent)).of(OpenInference),
    row(Method::GET, "/v2/models/{model}/trace/setting", INFERENCE, None, || get(server::absent)).of(OpenInference),
    row(Method::POST, "/v2/models/{model}/trace/setting", INFERENCE, None, || post(server::absent)).of(OpenInference),
    row(Method::GET, "/v2/systemsharedmemory/{*rest}", INFERENCE, None, || get(server::absent)).of(OpenInference),
    row(Method::POST, "/v2/systemsharedmemory/{*rest}", INFERENCE, None, || post(server::absent)).of(OpenInference),
    row(Method::GET, "/v2/cudasharedmemory/{*rest}", INFERENCE, None, || get(server::absent)).of(OpenInference),
    row(Method::POST, "/v2/cudasharedmemory/{*rest}", INFERENCE, None, || post(server::absent)).of(OpenInference),
    row(Method::GET, "/ping", ANYONE, ANYONE, || get(torchserve::ping)).of(TorchServe),
    row(Method::POST, "/predictions/{model}", INFERENCE, None, || post(torchserve::predictions)).of(TorchServe),
    row(Method::PUT, "/predictions/{model}", INFERENCE, None, || put(torchserve::predictions)).of(TorchServe),
    row(Method::POST, "/predictions/{model}/{version}", INFERENCE, None, || post(torchserve::predictions)).of(TorchServe),
    row(Method::PUT, "/predictions/{model}/{version}", INFERENCE, None, || put(torchserve::predictions)).of(TorchServe),
    row(Method::GET, "/models", INFERENCE, None, || get(torchserve::list)).of(TorchServe),
    row(Method::GET, "/models/{model}", INFERENCE, None, || get(torchserve::describe)).of(TorchServe),
    row(Method::GET, "/models/{model}/{version}", INFERENCE, None, || get(torchserve::describe)).of(TorchServe),
    row(Method::GET, "/livez", ANYONE, ANYONE, || get(probes::live)),
    row(Method::GET, "/readyz", ANYONE, ANYONE, || get(probes::ready)),
    row(Method::GET, "/health", ANYONE, ANYONE, || get(probes::ready)),
    row(Method::GET, "/startupz", ANYONE, ANYONE, || get(probes::started)),
    row(Method::GET, "/openapi.json", INFERENCE, None, || get(openapi::show)),
    row(Method::GET, "/docs", INFERENCE, None, || get(openapi::browse)),
    row(Method::GET, "/metrics", METRICS, ANYONE, || get(metrics::scrape)),
    row(Method::POST, "/v1/admin/drain", None, ADMIN, || post(admin::drain)),
    row(Method::DELETE, "/v1/admin/drain", None, ADMIN, || delete(admin::undrain)),
];

const fn row(
    method: Method,
    path: &'static str,
    main: Option<Need>,
    admin: Option<Need>,
    handler: fn() -> MethodRouter<Arc<App>>,
) -> Row {
    Row { method, path, main, admin, face: Face::Native, handler }
}

impl Row {
    /// For the clients of another protocol.
    const fn of(mut self, face: Face) -> Self {
        self.face = face;
        self
    }
}

/// The row that answers a method on a matched path. HEAD is a GET without its body.
pub fn find(method: &Method, path: &str) -> Option<&'static Row> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    TABLE.iter().find(|row| row.method == *method && row.path == path)
}

/// Whose clients a path is for, whatever the method.
pub fn face(path: &str) -> Option<Face> {
    TABLE.iter().find(|row| row.path == path).map(|row| row.face)
}

/// The methods of a path, as the header `Allow` has them.
pub fn allowed(path: &str, listener: Listener) -> String {
    let rows = TABLE.iter().filter(|row| row.path == path && row.need(listener).is_some());
    let names: Vec<&str> = rows
        .map(|row| if row.method == Method::GET { "GET, HEAD" } else { row.method.as_str() })
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Method, path, and who may use it on the main and on the admin listener.
    const MEANT: &str = "
POST /v1/predict inference -
POST /v1/predict/{model} inference -
POST /v1/predict/{model}/versions/{version} inference -
GET /v1/models inference -
GET /v1/models/{model} inference -
POST /v1/completions inference -
POST /v1/chat/completions inference -
POST /v1/embeddings inference -
POST /v1/audio/transcriptions inference -
POST /v1/audio/translations inference -
GET /v2 inference -
GET /v2/ inference -
GET /v2/health/live anyone anyone
GET /v2/health/ready anyone anyone
GET /v2/models inference -
GET /v2/models/stats inference -
GET /v2/models/{model} inference -
GET /v2/models/{model}/versions/{version} inference -
GET /v2/models/{model}/ready inference -
GET /v2/models/{model}/versions/{version}/ready inference -
GET /v2/models/{model}/config inference -
GET /v2/models/{model}/versions/{version}/config inference -
GET /v2/models/{model}/stats inference -
GET /v2/models/{model}/versions/{version}/stats inference -
POST /v2/models/{model}/infer inference -
POST /v2/models/{model}/versions/{version}/infer inference -
POST /v2/models/{model}/generate inference -
POST /v2/models/{model}/versions/{version}/generate inference -
POST /v2/models/{model}/generate_stream inference -
POST /v2/models/{model}/versions/{version}/generate_stream inference -
POST /v2/repository/index admin -
POST /v2/repository/{repository}/index admin -
POST /v2/repository/models/{model}/load admin -
POST /v2/repository/models/{model}/unload admin -
POST /v2/repository/{repository}/models/{model}/load admin -
POST /v2/repository/{repository}/models/{model}/unload admin -
GET /v2/logging inference -
POST /v2/logging admin -
GET /v2/trace/setting inference -
POST /v2/trace/setting inference -
GET /v2/models/{model}/trace/setting inference -
POST /v2/models/{model}/trace/setting inference -
GET /v2/systemsharedmemory/{*rest} inference -
POST /v2/systemsharedmemory/{*rest} inference -
GET /v2/cudasharedmemory/{*rest} inference -
POST /v2/cudasharedmemory/{*rest} inference -
GET /ping anyone anyone
POST /predictions/{model} inference -
PUT /predictions/{model} inference -
POST /predictions/{model}/{version} inference -
PUT /predictions/{model}/{version} inference -
GET /models inference -
GET /models/{model} inference -
GET /models/{model}/{version} inference -
GET /livez anyone anyone
GET /readyz anyone anyone
GET /health anyone anyone
GET /startupz anyone anyone
GET /openapi.json inference -
GET /docs inference -
GET /metrics metrics anyone
POST /v1/admin/drain - admin
DELETE /v1/admin/drain - admin
";

    /// A new route fails this test until somebody has said here who may use it.
    #[test]
    fn every_route_has_the_scope_that_was_meant() {
        let shown: Vec<String> = TABLE
            .iter()
            .map(|row| {
                let need = |need: Option<Need>| match need {
                    None => "-",
                    Some(Need::Nothing) => "anyone",
                    Some(Need::Key(scope)) => scope.name(),
                };
                format!("{} {} {} {}", row.method, row.path, need(row.main), need(row.admin))
            })
            .collect();
        assert_eq!(shown, MEANT.trim().lines().collect::<Vec<_>>());
    }
}
