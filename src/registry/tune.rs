//! Tells each model what was measured of its batches, or lets it measure them.

use std::sync::Arc;

use crate::engine::Curve;
use crate::registry::{Model, Registry};
use crate::state::Database;

impl Registry {
    /// Looks up the curve of every model that serves; one that has none is measured in idle time, and kept.
    pub fn tune(&self, state: &Arc<Database>) {
        for model in self.list().into_iter().filter_map(|slot| slot.model) {
            let known = state.curve::<Curve>(&model.card.digest, &model.processor);
            match known {
                Ok(Some(curve)) => model.endpoint.adopt(&curve),
                Ok(None) => measure(&model, state),
                Err(error) => tracing::warn!(%error, "what was measured of batches is not read"),
            }
        }
    }
}

fn measure(model: &Model, state: &Arc<Database>) {
    let state = Arc::clone(state);
    let (card, processor) = (model.card.clone(), model.processor.clone());
    model.endpoint.calibrate(Box::new(move |curve| {
        tracing::info!(
            model = %card.name,
            version = %card.version,
            batch_rows = curve.rows(),
            delay_us = curve.delay().as_micros(),
            "measured"
        );
        if let Err(error) = state.record_curve(&card.digest, &processor, curve) {
            tracing::warn!(%error, "what was measured of batches is not kept");
        }
    }));
}
