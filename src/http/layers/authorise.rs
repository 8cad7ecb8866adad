//! Default deny: only a route of the table, asked for with its method by somebody who may, goes on.

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, header};

use crate::access::{Caller, Decision, Key, Need, Scope, allows};
use crate::domain::{Kind, Problem};
use crate::http::App;
use crate::http::error::Failure;
use crate::http::server::Peer;
use crate::http::table::{self, Listener, Row};

/// Why this request goes no further; `None` when it does.
pub fn refusal(app: &App, listener: Listener, request: &Request) -> Option<Failure> {
    let Some(path) = request.extensions().get::<MatchedPath>() else { return Some(no_route()) };
    let row = table::find(request.method(), path.as_str());
    let Some(need) = row.and_then(|row| row.need(listener)) else {
        return Some(Failure::method_not_allowed(&table::allowed(path.as_str(), listener)));
    };
    let key = bearer(request.headers()).and_then(|secret| app.access.find(secret));
    match allows(need, app.access.open(), key) {
        Decision::Allow => {
            if let (Need::Key(Scope::Admin), Some(key)) = (need, key) {
                tracing::info!(key = key.name(), route = path.as_str(), "administration");
            }
            let counts = need == Need::Key(Scope::Inference) && row.is_some_and(Row::predicts);
            let within = if counts { within_rate(app, key, request) } else { Ok(()) };
            within.err().map(Failure::from)
        }
        Decision::Unauthenticated => Some(no_key().into()),
        Decision::Forbidden => Some(wrong_scope(need).into()),
    }
}

/// A prediction counts for its caller: who holds the key, or else the address that it came from.
fn within_rate(app: &App, key: Option<&Key>, request: &Request) -> Result<(), Problem> {
    let address = || request.extensions().get::<Peer>().map(|&Peer(address)| Caller::at(address));
    app.take(key.map(Key::holder).or_else(address))
}

fn no_route() -> Failure {
    Problem::new(Kind::NotFound, "there is no such path; /v1/models and /v1/predict/{model} are")
        .into()
}

fn no_key() -> Problem {
    Problem::new(Kind::Unauthenticated, "send a key of this server: Authorization: Bearer KEY")
}

fn wrong_scope(need: Need) -> Problem {
    let scope = match need {
        Need::Key(scope) => scope.name(),
        Need::Nothing => "no",
    };
    Problem::new(Kind::Forbidden, format!("this key lacks the scope {scope}"))
}

/// The secret of `Authorization: Bearer <secret>`.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, secret) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}
