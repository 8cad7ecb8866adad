//! One prediction: its deadline, its model, the way to the engine and back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::HeaderValue;
use futures_util::stream::{self, BoxStream, StreamExt};
use tonic::metadata::MetadataMap;

use crate::domain::{
    Card, Fragment, Kind, MediaLimits, ModelName, Outcome, Params, Payload, Piece, Problem, Version,
};
use crate::engine::{Reply, Request};
use crate::grpc::gate::Asker;
use crate::grpc::pb::infer_parameter::ParameterChoice;
use crate::grpc::pb::{ModelInferRequest, ModelInferResponse};
use crate::grpc::record::Record;
use crate::grpc::{request, response};
use crate::http::parse::{Schedule, schedule};
use crate::http::{App, INLINE_BYTES_MAX, Share};
use crate::oip::{
    Asked, InferRequest, Output, Receipt, check_params, check_wanted, payload, tensors, whole_only,
};
use crate::registry::Model;

/// The method whose requests may have several responses.
pub const STREAMING: &str = "ModelStreamInfer";
const ELSEWHERE: &str = "call ModelStreamInfer";

/// Asks for one more response, without outputs, that says it is the last.
const EMPTY_FINAL: &str = "triton_enable_empty_final_response";

/// What all predictions of one call share.
#[derive(Clone)]
pub struct Call {
    pub app: Arc<App>,
    pub method: &'static str,
    pub asker: Asker,
    /// When the caller stops waiting for all of it.
    until: Option<Instant>,
}

/// The responses to one request.
pub type Responses = BoxStream<'static, Result<ModelInferResponse, Problem>>;

impl Call {
    /// # Errors
    /// [`Kind::InvalidInput`] when the metadata `grpc-timeout` is not usable.
    pub fn begin(
        app: Arc<App>,
        method: &'static str,
        asker: Asker,
        began: Instant,
        metadata: &MetadataMap,
    ) -> Result<Self, Problem> {
        let timeout = timeout(metadata.as_ref().get(TIMEOUT))?;
        let until = timeout.and_then(|wait| began.checked_add(wait));
        Ok(Self { app, method, asker, until })
    }

    /// When the caller stops waiting for what was begun at `started`.
    fn deadline(&self, started: Instant) -> Instant {
        let limits = &self.app.limits;
        let wait = if self.until.is_some() { limits.deadline_max } else { limits.deadline_default };
        let latest = started + wait.min(limits.deadline_max);
        self.until.map_or(latest, |until| until.min(latest))
    }

    /// Predicts, unless the deadline passes or the server stops first. A caller who goes away drops all of
    /// this, and with it the rows that wait.
    ///
    /// # Errors
    /// Whatever goes wrong before the first response.
    pub async fn predict(self, message: ModelInferRequest) -> Result<Responses, Problem> {
        let record = Arc::new(Record::open(Arc::clone(&self.app), self.method));
        let deadline = self.deadline(record.started);
        let app = Arc::clone(&self.app);
        let answered = tokio::select! {
            biased;
            answered = self.answer(message, &record, deadline) => answered,
            () = tokio::time::sleep_until(deadline.into()) => Err(too_late()),
            () = app.cut() => Err(stopping()),
        };
        answered.inspect_err(|problem| record.failed(problem.kind))
    }

    /// A part of the memory of all bodies, for a message as it was unpacked.
    fn room(&self, bytes: usize) -> Result<Share, Problem> {
        let mut share = Share::begin(self.app.bodies())?;
        share.cover(bytes, self.app.bodies())?;
        Ok(share)
    }

    async fn answer(
        self,
        message: ModelInferRequest,
        record: &Arc<Record>,
        mut deadline: Instant,
    ) -> Result<Responses, Problem> {
        self.asker.take(&self.app)?;
        let size = request::bytes(&message);
        let _share = self.room(size)?;
        let (name, version) = named(&message.model_name, &message.model_version)?;
        let model = self.app.registry.get(&name, version)?;
        record.set_model(&model);
        let media = self.app.media;
        let request = Arc::clone(&model);
        let (heavy, many) = (size > INLINE_BYTES_MAX, self.method == STREAMING);
        let read = move || read(message, many, &request.card, &media);
        let Read { id, payload, asked, mut params, empty_final } =
            if heavy { self.app.aside(read).await?? } else { read()? };
        let Schedule { priority, timeout } = schedule(&mut params)?;
        if let Some(wait) = timeout {
            deadline = deadline.min(record.started + wait);
        }
        let request = Request { payload, params, deadline, priority };
        let mut told = Told {
            streams: false,
            model: Arc::clone(&model),
            record: Arc::clone(record),
            asked,
            id,
        };
        let responses = match model.endpoint.predict(request).await? {
            Reply::Whole(answer) => {
                let last = told.piece(Piece::End(answer), !empty_final);
                stream::once(std::future::ready(last)).boxed()
            }
            Reply::Stream(pieces) => {
                told.streams = true;
                told.stream(pieces, !empty_final)
            }
        };
        if !empty_final {
            return Ok(responses);
        }
        let mut last = response::empty(&model.card, "");
        last.parameters.insert(
            response::FINAL.to_owned(),
            response::parameter(ParameterChoice::BoolParam(true)),
        );
        Ok(with_last(responses, last))
    }
}

/// A request, as far as it is read before the engine is asked.
struct Read {
    id: String,
    payload: Payload,
    asked: Asked,
    params: Params,
    empty_final: bool,
}

/// `many` says that there may be several responses.
fn read(
    message: ModelInferRequest,
    many: bool,
    card: &Card,
    media: &MediaLimits,
) -> Result<Read, Problem> {
    let InferRequest { id, inputs, asked, mut params } = request::infer(message, media)?;
    check_wanted(&asked, card)?;
    check_params(&params, card)?;
    let empty_final = many && flag(&params.split_off(&[EMPTY_FINAL]))?;
    if !many {
        params.refuse(&[EMPTY_FINAL], ELSEWHERE)?;
        whole_only(&mut params, ELSEWHERE)?;
    }
    let payload = payload(inputs, card, media)?;
    Ok(Read { id: id.unwrap_or_default(), payload, asked, params, empty_final })
}

/// The responses, and one more when none of them failed. It has their id.
fn with_last(responses: Responses, last: ModelInferResponse) -> Responses {
    let state = Some((responses, last));
    let all = stream::unfold(state, |state| async {
        let (mut responses, mut last) = state?;
        match responses.next().await {
            Some(Ok(response)) => {
                last.id.clone_from(&response.id);
                Some((Ok(response), Some((responses, last))))
            }
            Some(Err(problem)) => Some((Err(problem), None)),
            None => Some((Ok(last), None)),
        }
    });
    all.boxed()
}

/// How the pieces of one answer become responses.
struct Told {
    /// Whether text comes before the end.
    streams: bool,
    model: Arc<Model>,
    record: Arc<Record>,
    asked: Asked,
    id: String,
}

impl Told {
    fn stream(
        self,
        pieces: BoxStream<'static, Result<Piece, Problem>>,
        final_too: bool,
    ) -> Responses {
        let told = pieces.map(move |piece| match piece {
            Ok(piece) => self.piece(piece, final_too),
            Err(problem) => {
                self.record.failed(problem.kind);
                Err(problem)
            }
        });
        told.boxed()
    }

    /// A piece of text as the first output alone; the end as what the caller asked for, without the text
    /// that was told already.
    fn piece(&self, piece: Piece, final_too: bool) -> Result<ModelInferResponse, Problem> {
        let card = &self.model.card;
        let told = match piece {
            Piece::Text(Fragment { index, text, .. }) => {
                let name = card.outputs.first().map_or("text_output", |output| &output.name);
                let output = Output::text(name, text, self.asked.binary);
                let mut told = response::infer(vec![output], card, &self.id, None);
                if index > 0 {
                    let index = i64::try_from(index).unwrap_or(i64::MAX);
                    let index = response::parameter(ParameterChoice::Int64Param(index));
                    told.parameters.insert("maas_index".to_owned(), index);
                }
                return Ok(with_final(told, false));
            }
            Piece::End(mut answer) => {
                let receipt = Receipt::of(&answer, card);
                if self.streams {
                    answer.outcomes.iter_mut().for_each(untold);
                }
                let outputs = tensors(answer, card, &self.asked)?;
                self.record.succeeded(receipt.timings);
                response::infer(outputs, card, &self.id, Some(&receipt))
            }
        };
        Ok(with_final(told, final_too))
    }
}

/// Takes out the text, which was told piece by piece.
fn untold(outcome: &mut Outcome) {
    if let Outcome::Generated { text, .. } | Outcome::Transcript { text, .. } = outcome {
        text.clear();
    }
}

fn with_final(mut response: ModelInferResponse, last: bool) -> ModelInferResponse {
    let last = response::parameter(ParameterChoice::BoolParam(last));
    response.parameters.insert(response::FINAL.to_owned(), last);
    response
}

fn flag(params: &Params) -> Result<bool, Problem> {
    let mut reader = params.reader();
    let flag = reader.flag(EMPTY_FINAL).unwrap_or(false);
    reader.finish()?;
    Ok(flag)
}

/// The model, and the version where one is named.
///
/// # Errors
/// [`Kind::NotFound`] for names that no model and no version can have.
pub fn named(name: &str, version: &str) -> Result<(ModelName, Option<Version>), Problem> {
    let unknown = |pointer: &str, expected: &str, got: &str| {
        let got = format!("{:?}", got.chars().take(80).collect::<String>());
        Problem::fault(Kind::NotFound, pointer, expected, got, "RepositoryIndex lists them")
    };
    let model = name.parse().map_err(|_| unknown("/model_name", "a model's name", name))?;
    if version.is_empty() {
        return Ok((model, None));
    }
    let version = version
        .parse()
        .map_err(|_| unknown("/model_version", "an integer from 1 to 999999999", version))?;
    Ok((model, Some(version)))
}

/// The header in which a caller says how long it waits.
pub const TIMEOUT: &str = "grpc-timeout";

/// Reads it: at most eight digits and a unit.
///
/// # Errors
/// [`Kind::InvalidInput`] when it is something else.
pub fn timeout(value: Option<&HeaderValue>) -> Result<Option<Duration>, Problem> {
    let Some(value) = value else { return Ok(None) };
    let read = |text: &str| {
        let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let number = digits.parse::<u64>().ok().filter(|_| (1..=8).contains(&digits.len()))?;
        match unit {
            "H" => Some(Duration::from_secs(number * 3600)),
            "M" => Some(Duration::from_secs(number * 60)),
            "S" => Some(Duration::from_secs(number)),
            "m" => Some(Duration::from_millis(number)),
            "u" => Some(Duration::from_micros(number)),
            "n" => Some(Duration::from_nanos(number)),
            _ => None,
        }
    };
    value.to_str().ok().and_then(read).map(Some).ok_or_else(|| {
        let expected = "at most eight digits and one of H, M, S, m, u, n";
        let hint = "let the client set its deadline";
        Problem::fault(Kind::InvalidInput, "/metadata/grpc-timeout", expected, "another", hint)
    })
}

fn too_late() -> Problem {
    Problem::new(Kind::DeadlineExceeded, "the deadline passed; the client sets it for each call")
}

fn stopping() -> Problem {
    Problem::new(Kind::Unavailable, "the server stops; another one may answer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_digits_and_a_unit() {
        let read = |text: &'static str| timeout(Some(&HeaderValue::from_static(text)));
        assert_eq!(read("250m").unwrap(), Some(Duration::from_millis(250)));
        assert_eq!(read("99999999H").unwrap(), Some(Duration::from_hours(99_999_999)));
        assert_eq!(read("7n").unwrap(), Some(Duration::from_nanos(7)));
        for bad in ["", "m", "5", "-5S", "1.5S", "123456789S", "5x", "5é"] {
            assert!(timeout(Some(&HeaderValue::from_str(bad).unwrap())).is_err(), "{bad}");
        }
        assert_eq!(timeout(None).unwrap(), None);
    }

    #[test]
    fn names_and_versions_are_checked() {
        assert_eq!(named("kjv", "").unwrap().1, None);
        assert_eq!(named("kjv", "2").unwrap().1, Some(2.try_into().unwrap()));
        for (name, version) in [("", ""), ("../kjv", ""), ("kjv", "-1"), ("kjv", "latest")] {
            assert_eq!(named(name, version).unwrap_err().kind, Kind::NotFound, "{name} {version}");
        }
    }
}
