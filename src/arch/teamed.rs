//! Several threads inside one forward pass, where somebody wants one answer soon more than many in a second.

use std::sync::{Arc, Mutex, PoisonError};

use crate::compute::kernels::Team;
use crate::engine::Around;

/// Runs each turn with a team of `threads` of its own; `None` where a turn's own thread is all of them.
pub fn teams(threads: usize) -> Option<Around> {
    if threads <= 1 {
        return None;
    }
    // As many as there are turns at once; one whose turn panics is dropped. The first is made here, where a model
    // is loaded, so that its threads do not yield to others as those of the long lane do.
    let idle = Mutex::new(vec![Team::new(threads)]);
    Some(Arc::new(move |turn: &mut dyn FnMut()| {
        let rested = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let team = rested.unwrap_or_else(|| Team::new(threads));
        team.install(turn);
        idle.lock().unwrap_or_else(PoisonError::into_inner).push(team);
    }))
}
