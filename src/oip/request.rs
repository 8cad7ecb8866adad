//! A request for inference, whatever wire it came by.

use crate::domain::{Params, Problem};
use crate::oip;
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
        self.params.refuse(&oip::NO_PLACE, oip::NO_PLACE_HINT)?;
        let own = self.params.split_off(&["binary_data_output"]);
        let mut reader = own.reader();
        self.asked.binary = reader.flag("binary_data_output").unwrap_or(false);
        reader.finish()
    }
}
