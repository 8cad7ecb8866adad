//! The model repository: what is there, bringing it into service and taking it out. A model is a name here,
//! never content, a path or a URL.

use std::sync::Arc;

use axum::Extension;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;

use crate::http::App;
use crate::http::call::Call;
use crate::http::error::Failure;
use crate::http::parse::oip::body::{self, Filter};
use crate::http::routes::target::Target;
use crate::http::ticket::Ticket;
use crate::oip::{IndexEntry, check_unload, index, load_version};

/// `POST /v2/repository/index`.
pub async fn list(
    State(app): State<Arc<App>>,
    Extension(ticket): Extension<Arc<Ticket>>,
    request: Request,
) -> Result<Json<Vec<IndexEntry>>, Failure> {
    let bytes = read(&app, ticket, request).await?;
    let Filter { ready } = body::filter(&bytes)?;
    Ok(Json(index(&app.registry, ready)))
}

/// `POST /v2/repository/models/{model}/load`: every version in the stores, or the one that the parameter
/// `version` names. What serves goes on serving until the new one does.
pub async fn load(
    State(app): State<Arc<App>>,
    Extension(ticket): Extension<Arc<Ticket>>,
    target: Target,
    request: Request,
) -> Result<StatusCode, Failure> {
    let bytes = read(&app, ticket, request).await?;
    let version = load_version(&body::parameters(&bytes)?)?;
    app.load(target.named()?, version).await?;
    Ok(StatusCode::OK)
}

/// `POST /v2/repository/models/{model}/unload`: all its versions; answers when the last request that they
/// had begun is over.
pub async fn unload(
    State(app): State<Arc<App>>,
    Extension(ticket): Extension<Arc<Ticket>>,
    target: Target,
    request: Request,
) -> Result<StatusCode, Failure> {
    let bytes = read(&app, ticket, request).await?;
    check_unload(&body::parameters(&bytes)?)?;
    app.unload(target.named()?).await?;
    Ok(StatusCode::OK)
}

async fn read(
    app: &Arc<App>,
    ticket: Arc<Ticket>,
    request: Request,
) -> Result<bytes::Bytes, Failure> {
    let (head, body) = request.into_parts();
    let call = Call::begin(Arc::clone(app), ticket, &head.headers)?;
    let (bytes, _share) = call.within(call.body(&head.headers, body)).await?;
    Ok(bytes)
}
