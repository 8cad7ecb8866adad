//! `POST /v2/models/{model}[/versions/{version}]/infer`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;

use crate::domain::{Kind, Problem};
use crate::engine::Reply;
use crate::http::App;
use crate::http::call::Call;
use crate::http::error::Failure;
use crate::http::parse::oip::Wire;
use crate::http::routes::oip::write;
use crate::http::routes::target::Target;
use crate::http::ticket::Ticket;
use crate::oip::{InferRequest, Receipt, check_wanted, payload, tensors};

/// Predicts on tensors.
pub async fn infer(
    State(app): State<Arc<App>>,
    Extension(ticket): Extension<Arc<Ticket>>,
    target: Target,
    request: Request,
) -> Result<Response, Failure> {
    let call = Call::begin(app, ticket, request.headers())?;
    call.within(answer(call.clone(), target, request)).await
}

async fn answer(mut call: Call, target: Target, request: Request) -> Result<Response, Failure> {
    let version = target.version;
    let model = call.model(&target.named()?, version)?;
    let (head, body) = request.into_parts();
    // The share is kept to the end: what was read lives in the request until then.
    let (bytes, _share) = call.body(&head.headers, body).await?;
    let wire = Wire::new(&head.headers, bytes)?;
    let (read, media) = (Arc::clone(&model), call.app.media);
    let request = call.read(wire.json_bytes(), move || wire.read(&read.card, &media)).await?;
    let InferRequest { id, inputs, asked, params } = request;
    check_wanted(&asked, &model.card)?;
    let payload = payload(inputs, &model.card, &media)?;
    let Reply::Whole(answer) = call.predict(&model, payload, params).await? else {
        return Err(streamed().into());
    };
    let receipt = Receipt::of(&answer, &model.card);
    let outputs = tensors(answer, &model.card, &asked)?;
    let id = id.as_deref().unwrap_or(call.ticket.id.as_str());
    Ok(write::response(&outputs, &model.card, id, &receipt)?)
}

fn streamed() -> Problem {
    Problem::fault(
        Kind::Unsupported,
        "/parameters/stream",
        "a whole answer",
        "stream",
        "POST to /v2/models/{model}/generate_stream, or stream over gRPC",
    )
}
