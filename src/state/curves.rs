//! What was measured of packages' batches, by package digest and kind of processor.

use rusqlite::{OptionalExtension, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::domain::Digest;
use crate::state::{Database, StateError};

impl Database {
    /// Keeps a curve in place of an earlier one. It is on disk when this returns.
    ///
    /// # Errors
    /// [`StateError`] when it cannot be written.
    pub fn record_curve(
        &self,
        package: &Digest,
        processor: &str,
        curve: &impl Serialize,
    ) -> Result<(), StateError> {
        let json =
            serde_json::to_string(curve).map_err(|error| StateError::Corrupt(error.to_string()))?;
        self.connection().execute(
            "INSERT OR REPLACE INTO batch_curves (package_digest, processor, curve_json)
             VALUES (?1, ?2, ?3)",
            params![package.to_string(), processor, json],
        )?;
        Ok(())
    }

    /// The curve of a package on such a processor, where one was measured. One that another version of this
    /// program wrote otherwise counts as none: it is measured again.
    ///
    /// # Errors
    /// [`StateError`] when it cannot be read.
    pub fn curve<C: DeserializeOwned>(
        &self,
        package: &Digest,
        processor: &str,
    ) -> Result<Option<C>, StateError> {
        let connection = self.connection();
        let mut query = connection.prepare_cached(
            "SELECT curve_json FROM batch_curves WHERE package_digest = ?1 AND processor = ?2",
        )?;
        let json: Option<String> = query
            .query_row(params![package.to_string(), processor], |row| row.get(0))
            .optional()?;
        Ok(json.and_then(|json| serde_json::from_str(&json).ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_is_found_for_its_package_and_processor_only() {
        let place = tempfile::tempdir().unwrap();
        let database = Database::open(place.path()).unwrap();
        let package = Digest::new([1; 32]);
        database.record_curve(&package, "avx512", &[1, 2]).unwrap();
        database.record_curve(&package, "avx512", &[1, 2, 3]).unwrap();
        let found = |digest: u8, processor| {
            database.curve::<Vec<u32>>(&Digest::new([digest; 32]), processor).unwrap()
        };
        assert_eq!(found(1, "avx512"), Some(vec![1, 2, 3]));
        assert_eq!(found(1, "avx2"), None);
        assert_eq!(found(2, "avx512"), None);
        assert_eq!(database.curve::<String>(&package, "avx512").unwrap(), None);
    }
}
