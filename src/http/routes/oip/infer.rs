//! `POST /v2/models/{model}[/versions/{version}]/infer`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;

use crate::domain::{Card, MediaLimits, Params, Payload, Problem};
use crate::engine::Reply;
use crate::http::call::{Call, no_query};
use crate::http::error::Failure;
use crate::http::parse::oip::Wire;
use crate::http::routes::oip::write;
use crate::http::routes::target::Target;
use crate::http::ticket::Ticket;
use crate::http::{App, answer};
use crate::oip::{
    Asked, InferRequest, Receipt, check_params, check_wanted, payload, tensors, whole_only,
};

/// Predicts on tensors.
pub async fn infer(
    State(app): State<Arc<App>>,
    Extension(ticket): Extension<Arc<Ticket>>,
    target: Target,
    request: Request,
) -> Result<Response, Failure> {
    let call = Call::begin(app, ticket, request.headers())?;
    call.within(answered(call.clone(), target, request)).await
}

async fn answered(mut call: Call, target: Target, request: Request) -> Result<Response, Failure> {
    let version = target.version;
    let model = call.model(&target.named()?, version)?;
    let (head, body) = request.into_parts();
    no_query(&head.uri)?;
    // The share is kept to the end: what was read lives in the request until then.
    let (bytes, _share) = call.body(&head.headers, body).await?;
    let wire = Wire::new(&head.headers, bytes)?;
    let (read, media) = (Arc::clone(&model), call.app.media);
    let bytes = wire.bytes();
    let asked = move || asked(wire, &read.card, &media);
    let Read { id, payload, asked, params } = call.read(bytes, asked).await?;
    let Reply::Whole(answer) = call.predict(&model, payload, params).await? else {
        return Err(answer::unusable().into());
    };
    let receipt = Receipt::of(&answer, &model.card);
    let outputs = tensors(answer, &model.card, &asked)?;
    let id = id.as_deref().unwrap_or(call.ticket.id.as_str());
    Ok(write::response(&outputs, &model.card, id, &receipt)?)
}

/// A request, as far as it is read before the engine is asked.
struct Read {
    id: Option<String>,
    payload: Payload,
    asked: Asked,
    params: Params,
}

fn asked(wire: Wire, card: &Card, media: &MediaLimits) -> Result<Read, Problem> {
    let InferRequest { id, inputs, asked, mut params } = wire.read(card, media)?;
    check_wanted(&asked, card)?;
    check_params(&params, card)?;
    whole_only(&mut params, "POST to /v2/models/{model}/generate_stream, or stream over gRPC")?;
    Ok(Read { id, payload: payload(inputs, card, media)?, asked, params })
}
