//! Tells each model what was measured of its batches, or lets it measure them.

use std::sync::Arc;

use crate::domain::ModelName;
use crate::engine::{Curve, Measured};
use crate::registry::{Model, Registry};
use crate::state::Database;

impl Registry {
    /// Looks up the curves of what serves, or of one model's versions; one that has none is measured in idle
    /// time, and kept.
    pub fn tune(&self, state: &Arc<Database>, only: Option<&ModelName>) {
        let mut slots = self.list();
        slots.retain(|slot| only.is_none_or(|name| *name == slot.name));
        for model in slots.into_iter().filter_map(|slot| slot.model) {
            let Some(batches) = model.endpoint.batches() else { continue };
            match state.curve::<Curve>(&model.card.digest, &model.processor) {
                Ok(Some(curve)) => batches.adopt(&curve),
                Ok(None) => batches.calibrate(keep(&model, state)),
                Err(error) => tracing::warn!(%error, "what was measured of batches is not read"),
            }
        }
    }
}

/// Tells what was measured, and keeps it.
fn keep(model: &Model, state: &Arc<Database>) -> Measured {
    let state = Arc::clone(state);
    let (card, processor) = (model.card.clone(), model.processor.clone());
    Box::new(move |curve| {
        tracing::info!(
            model = %card.name,
            version = %card.version,
            batch_cost = curve.good().map(|batch| batch.cost),
            delay_us = curve.delay().as_micros(),
            "measured"
        );
        if let Err(error) = state.record_curve(&card.digest, &processor, curve) {
            tracing::warn!(%error, "what was measured of batches is not kept");
        }
    })
}
