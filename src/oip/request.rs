//! A request for inference, whatever wire it came by.

use crate::domain::{Card, Kind, Params, Problem, task};
use crate::oip::input::Input;
use crate::oip::output::Wanted;

/// What a caller asks, with its form checked.
#[derive(Debug, Default)]
pub struct InferRequest {
    /// The caller's own, to be repeated in the answer.
    pub id: Option<String>,
    pub inputs: Vec<Input>,
    pub asked: Asked,
    /// The model's, and those of the schedule.
    pub params: Params,
}

/// Which outputs are wanted, and how they are to be written.
#[derive(Debug, Default, PartialEq)]
pub struct Asked {
    /// All of them, where none is named.
    pub outputs: Vec<Wanted>,
    /// Whether outputs that do not say are written as bytes.
    pub binary: bool,
}

impl InferRequest {
    /// Takes the protocol's own parameters out of `params`; the rest is the schedule's and the model's.
    ///
    /// # Errors
    /// [`Kind::InvalidInput`](crate::domain::Kind::InvalidInput) when one of them has a wrong type.
    pub fn take_own(&mut self) -> Result<(), Problem> {
        let own = self.params.split_off(&["binary_data_output"]);
        let mut reader = own.reader();
        self.asked.binary = reader.flag("binary_data_output").unwrap_or(false);
        reader.finish()
    }
}

/// Refuses parameters whose results would be no tensors of the answer.
///
/// # Errors
/// [`Kind::Unsupported`] with what to ask instead.
pub fn check_params(params: &Params, card: &Card) -> Result<(), Problem> {
    match card.task.as_str() {
        task::TEXT_GENERATION => params.refuse(
            &["n", "logprobs"],
            "send a row for each text; /v1/completions shows probabilities",
        ),
        task::IMAGE_CLASSIFICATION => {
            let hint = "give the output the parameter classification, which is how many";
            params.refuse(&["top_k"], hint)
        }
        task::SPEECH_RECOGNITION => params.refuse(
            &["timestamps"],
            "POST to /v1/predict/{model} or /v1/audio/transcriptions to get times",
        ),
        _ => Ok(()),
    }
}

/// Takes `stream` out of the parameters of a request that gets one answer.
///
/// # Errors
/// [`Kind::Unsupported`] when it asks for several; `hint` says where they are to be had.
pub fn whole_only(params: &mut Params, hint: &str) -> Result<(), Problem> {
    let own = params.split_off(&["stream"]);
    let mut reader = own.reader();
    let streams = reader.flag("stream").unwrap_or(false);
    reader.finish()?;
    match own.pointer("stream").filter(|_| streams) {
        Some(pointer) => {
            Err(Problem::fault(Kind::Unsupported, pointer, "a whole answer", "stream", hint))
        }
        None => Ok(()),
    }
}
