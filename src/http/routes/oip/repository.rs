//! The model repository: what is there, bringing it into service and taking it out. A model is a name here,
//! never content, a path or a URL.

use std::sync::Arc;

use axum::Extension;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;

use crate::domain::{Kind, Params, Problem, Version};
use crate::http::App;
use crate::http::call::Call;
use crate::http::error::Failure;
use crate::http::parse::oip::body::{self, Filter};
use crate::http::routes::target::Target;
use crate::http::ticket::Ticket;
use crate::oip::{IndexEntry, index};

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
    let version = version(&body::parameters(&bytes)?)?;
    let name = target.named()?;
    let repository = Arc::clone(&app.repository);
    blocking(move || repository.load(&name, version)).await?;
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
    let params = body::parameters(&bytes)?;
    let mut reader = params.reader();
    // Nothing depends on another model here, so either is honoured.
    reader.flag("unload_dependents");
    reader.finish()?;
    let name = target.named()?;
    let repository = Arc::clone(&app.repository);
    let longest = app.limits.deadline_max;
    blocking(move || repository.unload(&name, longest)).await?;
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

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let failed = |_| Problem::new(Kind::Internal, "the work on the model failed; it was logged");
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}

/// The one parameter of a load.
fn version(params: &Params) -> Result<Option<Version>, Problem> {
    let mut reader = params.reader();
    let number = reader.integer("version", 1..=999_999_999);
    reader.finish().map_err(content)?;
    Ok(number.and_then(|number| u32::try_from(number).ok()).and_then(|n| n.try_into().ok()))
}

/// Content that a client of Triton sends along.
fn content(problem: Problem) -> Problem {
    let sent =
        |fault: &crate::domain::Fault| fault.got == "config" || fault.got.starts_with("file:");
    if !problem.faults.iter().any(sent) {
        return problem;
    }
    let detail = "a load takes a name, never content: put the package into the store, then load it";
    Problem::new(Kind::Unsupported, detail)
}
