//! What packages scored: written by `maas eval`, shown with the model.

use std::collections::BTreeMap;

use rusqlite::{Row, params};
use serde::Serialize;

use crate::domain::Digest;
use crate::state::{Database, StateError};

/// What one package scored on some data, and when.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    pub package_digest: Digest,
    pub data_digest: Digest,
    pub data_description: String,
    pub metrics: BTreeMap<String, f64>,
    /// RFC 3339, UTC.
    pub evaluated_at: String,
}

impl Database {
    /// Adds one. It is on disk when this returns.
    ///
    /// # Errors
    /// [`StateError`] when it cannot be written.
    pub fn record_evaluation(&self, evaluation: &Evaluation) -> Result<(), StateError> {
        let metrics = serde_json::to_string(&evaluation.metrics)
            .map_err(|error| StateError::Corrupt(error.to_string()))?;
        self.connection().execute(
            "INSERT INTO evaluations
                 (package_digest, data_digest, data_description, metrics_json, evaluated_at)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                evaluation.package_digest.to_string(),
                evaluation.data_digest.to_string(),
                evaluation.data_description,
                metrics,
                evaluation.evaluated_at,
            ],
        )?;
        Ok(())
    }

    /// The last evaluation of a package on each set of data, newest first; at most `limit` of them.
    ///
    /// # Errors
    /// [`StateError`] when they cannot be read.
    pub fn evaluations(&self, package: &Digest, limit: u32) -> Result<Vec<Evaluation>, StateError> {
        let connection = self.connection();
        let mut query = connection.prepare_cached(
            "SELECT package_digest, data_digest, data_description, metrics_json, evaluated_at
             FROM evaluations
             WHERE id IN (SELECT max(id) FROM evaluations WHERE package_digest = ?1
                          GROUP BY data_digest)
             ORDER BY id DESC LIMIT ?2",
        )?;
        let rows = query.query_map(params![package.to_string(), limit], texts)?;
        rows.map(|row| evaluation(row?)).collect()
    }
}

fn texts(row: &Row<'_>) -> rusqlite::Result<[String; 5]> {
    Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?])
}

fn evaluation(row: [String; 5]) -> Result<Evaluation, StateError> {
    let [package, data, data_description, metrics, evaluated_at] = row;
    let digest = |text: &str| {
        text.parse().map_err(|error: crate::domain::IdError| StateError::Corrupt(error.to_string()))
    };
    Ok(Evaluation {
        package_digest: digest(&package)?,
        data_digest: digest(&data)?,
        data_description,
        metrics: serde_json::from_str(&metrics)
            .map_err(|error| StateError::Corrupt(error.to_string()))?,
        evaluated_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(package: u8, data: u8, accuracy: f64) -> Evaluation {
        Evaluation {
            package_digest: Digest::new([package; 32]),
            data_digest: Digest::new([data; 32]),
            data_description: format!("data {data}"),
            metrics: BTreeMap::from([("accuracy".to_owned(), accuracy)]),
            evaluated_at: "2026-11-24T08:00:00Z".to_owned(),
        }
    }

    #[test]
    fn the_last_of_each_data_is_found_again_after_a_restart() {
        let place = tempfile::tempdir().unwrap();
        let database = Database::open(place.path()).unwrap();
        for evaluation in [made(1, 1, 0.1), made(1, 2, 0.2), made(2, 1, 0.3), made(1, 1, 0.4)] {
            database.record_evaluation(&evaluation).unwrap();
        }
        drop(database);
        let database = Database::open(place.path()).unwrap();
        let found = database.evaluations(&Digest::new([1; 32]), 10).unwrap();
        assert_eq!(found, [made(1, 1, 0.4), made(1, 2, 0.2)]);
        assert_eq!(database.evaluations(&Digest::new([1; 32]), 1).unwrap(), [made(1, 1, 0.4)]);
        assert_eq!(database.evaluations(&Digest::new([9; 32]), 10).unwrap(), []);
    }

    #[test]
    fn a_full_disk_is_told_apart() {
        let place = tempfile::tempdir().unwrap();
        let database = Database::open(place.path()).unwrap();
        // The page limit makes SQLite answer as it does when the disk has no room.
        database.connection().pragma_update(None, "max_page_count", 1).unwrap();
        let long = Evaluation { data_description: "x".repeat(1 << 20), ..made(1, 1, 0.1) };
        let error = database.record_evaluation(&long).unwrap_err();
        assert!(matches!(error, StateError::StorageFull), "{error}");
    }
}
